"""What columns are called in exports of other systems, and what that means: fields, and who opted out.

Names are compared without case, accents and separators: `First Name`, `first_name` and `FirstName` are one.
They are those of Outlook, Google, Mailchimp, HubSpot, Salesforce, Brevo, Shopify and WooCommerce in English,
German, French, Spanish and Russian. Cyrillic is compared in Latin letters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

#: Letters that Unicode does not take apart into a Latin letter and a mark.
_LATIN = str.maketrans(
    {
        **dict(zip("абвгдезийклмнопрстуфыэіґ", "abvgdeziyklmnoprstufyeig", strict=True)),
        "ё": "e",
        "ж": "zh",
        "х": "kh",
        "ц": "ts",
        "ч": "ch",
        "ш": "sh",
        "щ": "shch",
        "ъ": "",
        "ь": "",
        "ю": "yu",
        "я": "ya",
        "ї": "yi",
        "є": "ye",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "ı": "i",
    }
)
#: For each field the names of its columns, the preferred ones first.
_MEANS = {
    "email": """
        email emailaddress mail mailaddress emailid email1value email1 email1address primaryemail workemail
        businessemail companyemail subscriberemail contactemail customeremail useremail
        emailadresse mailadresse mailadr emailadr adresseemail adressemail adressemel adressedemessagerie
        adressedecourriel adressecourriel courriel courrierelectronique adresseelectronique
        correo correoelectronico direcciondecorreoelectronico direcciondecorreo direcciondeemail
        direccionemail direcciondelcorreoelectronico
        elektronnayapochta elpochta pochta adreselektronnoypochty adreselpochty adresemail adrespochty imeyl
        emeyl
        billingemail emailbilling email2address email2adresse email2value email2 adressedemessagerie2
        direcciondecorreoelectronico2 direcciondelcorreoelectronico2 adres2elpochty adreselpochty2
        email3address email3adresse email3value email3 personalemail privateemail homeemail otheremail
        secondaryemail""",
    "phone": """
        mobile mobilephone mobilenumber mobilephonenumber mobileno cell cellphone cellnumber cellphonenumber
        sms smsphone smsphonenumber smsnumber msisdn phonemobile phone handy handynummer handynr mobil
        mobilnummer mobilnr mobiltelefon mobiltelefonnummer mobilrufnummer mobiltel telefonmobil telmobil
        portable telephoneportable telportable telephonemobile telmobile numerodeportable numerodemobile
        numeroportable mobil1 movil telefonomovil numerodemovil celular telefonocelular
        mobilnyytelefon mobilnyy telefonmobilnyy sotovyy sotovyytelefon nomermobilnogotelefona
        phonenumber phoneno phonenum phone1value phone1 primaryphone telephone telephonenumber telephoneno
        tel telnr telno telnumber contactnumber contactphone customerphone
        telefon telefonnummer telefonnr rufnummer numerodetelephone numtelephone numerotelephone
        telefono numerodetelefono numtelefono tfno nomertelefona telefonnyynomer
        billingphone phonebilling defaultaddressphone shippingphone phone2value phone2 phone3value
        homephone homephone2 businessphone businessphone2 workphone otherphone
        telefonprivat telefongeschaftlich telefondienstlich telephonedomicile telephonebureau
        teldomicile telbureau telefonodomicilio telefonoparticular telefonodeltrabajo telefonodetrabajo
        domashniytelefon rabochiytelefon""",
    "first_name": """
        firstname first givenname forename fname vorname rufname prenom nombre nombres primernombre imya
        contactfirstname customerfirstname billingfirstname firstnamebilling shippingfirstname""",
    "last_name": """
        lastname last surname familyname lname nachname familienname zuname nom nomdefamille apellido
        apellidos primerapellido familiya contactlastname customerlastname billinglastname lastnamebilling
        shippinglastname""",
    "timezone": "timezone tz zeitzone fuseauhoraire zonahoraria husohorario chasovoypoyas",
    "birthday": """
        birthday birthdate dateofbirth dob geburtstag geburtsdatum datedenaissance anniversaire
        fechadenacimiento cumpleanos denrozhdeniya datarozhdeniya""",
}
_RANKS = {
    word: (field, rank) for field, words in _MEANS.items() for rank, word in enumerate(words.split(), start=1)
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Columns with the state of a subscription in a word, those with a yes or a date, and those with a consent.
_STATUS = _words(
    """
    status memberstatus emailstatus subscriptionstatus subscriberstatus subscribedstatus contactstatus
    emailmarketingstatus smsmarketingstatus marketingstatus newsletterstatus emailsubscriptionstatus
    smssubscriptionstatus smsstatus abostatus anmeldestatus abonnementstatus statut statutabonnement
    statutdelabonnement estado estadodelasuscripcion estadodesuscripcion statuspodpiski"""
)
_OPTED_OUT = _words(
    """
    unsubscribed unsubscribedfromall unsubscribedfromallemail optout optedout
    emailoptout emailoptedout optedoutofemail optedoutemail hasoptedoutofemail smsoptout smsoptedout
    hasoptedoutofsms optedoutofsms donotemail donotcontact donotmail globalunsubscribe emailunsubscribed
    smsunsubscribed blacklisted blacklist blocklisted blocklist emailblacklisted emailblacklist
    emailblocklisted emailblocklist smsblacklisted smsblacklist smsblocklisted smsblocklist cleaned
    bounced hardbounced unsubtime unsubscribetime unsubscribedate unsubdate unsubscribedat
    unsubscribedon unsubscribeddate dateunsubscribed optoutdate optouttime optoutat optedoutat cleantime
    cleanedat bouncedat abgemeldet abbestellt ausgetragen abgemeldetam abmeldedatum abmeldung
    austragungsdatum desinscrit desabonne desinscription datededesinscription
    datededesabonnement baja dadodebaja desuscrito fechadebaja otpisan otpisalsya otpiska
    dataotpiski"""
)
_CONSENT = _words(
    """
    acceptsmarketing acceptsemailmarketing acceptssmsmarketing emailoptin smsoptin marketingoptin
    marketingconsent emailconsent smsconsent emailmarketingconsent smsmarketingconsent"""
)
_NO = _words("0 00 no n f false none null never off nein falsch non faux falso net lozh na unknown")
_SUBSCRIBED = _words("subscribed active aktiv actif activo")
_NOT_SUBSCRIBED = _words("nonsubscribed notsubscribed neversubscribed unconfirmed")
_OUT_WORDS = _words(
    """
    cleaned bounced complained complaint spam abuse blacklisted blocklisted suppressed abgemeldet
    abbestellt ausgetragen desinscrit desinscrite desabonne desabonnee baja dadodebaja desuscrito
    anulado otpisan otpisana otpisalsya otpisalas"""
)
_OUT_STARTS = ("unsub", "optedout", "optout", "hardbounce")
_COUNT = re.compile(r"_[0-9]+$")


def plain(text: str) -> str:
    """Lower-case text without accents and invisible marks, in Latin letters where there are some for it."""
    text = unicodedata.normalize("NFKC", text).casefold().translate(_LATIN)
    text = unicodedata.normalize("NFKD", text)
    return "".join(char for char in text if unicodedata.category(char) not in ("Mn", "Me", "Cf"))


@lru_cache(maxsize=4096)
def compact(text: str) -> str:
    """The letters and digits of a name, by which it is compared."""
    return re.sub(r"[^a-z0-9]+", "", plain(text))


@lru_cache(maxsize=4096)
def meaning(name: str) -> tuple[str, int]:
    """The field that a column of this name fills, and its rank among those that do (0 is best); ("", 0)."""
    if name in _MEANS:
        return name, 0
    return _RANKS.get(compact(name), ("", 0))


@lru_cache(maxsize=4096)
def opt_out_kind(name: str) -> str:
    """What a column says of subscriptions: "status", "opted_out", "consent", or "" for nothing.

    The second `Status` of a file is kept as `status_2`, and says as much as the first.
    """
    word = compact(_COUNT.sub("", name))
    if word in _STATUS:
        return "status"
    # HubSpot has a column for each kind of mail: "Opted out of email: Newsletter".
    if word in _OPTED_OUT or word.startswith("optedoutofemail"):
        return "opted_out"
    return "consent" if word in _CONSENT else ""


def opt_out_fields(name: str) -> tuple[str, ...]:
    """The addresses that such a column is about."""
    word = compact(name)
    if "sms" in word:
        return ("phone",)
    return ("email",) if "mail" in word else ("email", "phone")


def means_opted_out(kind: str, cell: str) -> bool:
    """Whether a cell of a column of this kind says that the person unsubscribed or cannot be reached."""
    word = compact(cell[:100])
    if kind == "opted_out":  # a date of zeros is what some databases have for none
        return bool(word.strip("0")) and word not in _NO and word not in _SUBSCRIBED
    return word in _OUT_WORDS or word.startswith(_OUT_STARTS)


def means_no_consent(kind: str, cell: str) -> bool:
    """Whether a cell of a column of this kind says that the person did not agree to marketing."""
    word = compact(cell[:100])
    return word in _NOT_SUBSCRIBED or (kind == "consent" and word in _NO)
