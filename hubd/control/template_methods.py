"""`template.*`: named, versioned content that campaigns share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import trio

from hubd.control.campaign_methods import check_templates
from hubd.control.command import Command
from hubd.control.hub import Hub
from hubd.control.table import Disk, changes, reads
from hubd.control.views import problem_of, time_text
from hubd.core.spec_reading import parse_reference
from hubd.core.template_spec import (
    TemplateSpec,
    TemplateUsers,
    check_renders,
    parse_template,
    still_fits,
    within,
)
from hubd.core.uses import AppliedTemplates
from hubd.errors import BadInput
from hubd.wire import template_params as p
from hubd.wire import template_results as r
from hubd.wire.params import Params
from hubd.wire.results import Done


async def apply(hub: Hub, params: p.TemplateApply, command: Command) -> r.TemplatesApplied:
    """Store template files as new versions if they differ; campaigns that have not begun use them."""
    specs = [_read(raw, f"specs[{at}]") for at, raw in enumerate(params.specs)]
    _check_names(specs)
    work = hub.templates.applying(specs)
    # Compiling takes long, so it is done on the result of a dry run, not in the writer's thread.
    found, answer = await hub.commands.dry_run(command.request, work, partial(_applied, command))
    await trio.to_thread.run_sync(_check, specs, found)
    return answer if command.dry_run else await command.write(work, partial(_applied, command))


def _read(raw: object, place: str) -> TemplateSpec:
    try:
        return parse_template(raw)
    except BadInput as error:
        raise within(error, place) from None


def _check_names(specs: Sequence[TemplateSpec]) -> None:
    names = [spec.name for spec in specs]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise BadInput.at(f"specs[{at}].name", "is also the name of another of these files")


def _check(specs: Sequence[TemplateSpec], found: AppliedTemplates) -> None:
    """Raise BadTemplate or Conflict if any of this cannot be rendered."""
    places = {spec.name: f"specs[{at}]" for at, spec in enumerate(specs)}
    for name, parts in found.joined.items():
        if name not in places:
            still_fits(f"the template {name}", partial(check_renders, parts))
            continue
        try:
            check_renders(parts)
        except BadInput as error:
            raise within(error, places[name]) from None
    for name, content in found.campaigns.items():
        still_fits(f"the campaign {name}", partial(check_templates, content))


def _applied(command: Command, found: AppliedTemplates) -> r.TemplatesApplied:
    changed = any(each.changed for each in found.templates)
    versions: list[r.AppliedVersion] = [
        {"name": each.name, "version": each.version, "changed": each.changed} for each in found.templates
    ]
    return {**command.done(changed=changed), "templates": versions, "campaigns": list(found.campaigns)}


async def list_all(hub: Hub, _: Params) -> r.TemplatesResult:
    """The newest version of each template."""
    return {"templates": [_version(each) for each in await hub.templates.all()]}


async def get(hub: Hub, params: p.TemplateReference) -> r.TemplateResult:
    """One version of a template, as it was applied."""
    try:
        parse_reference(params.name)
    except BadInput as error:
        raise BadInput.at("name", problem_of(error)) from None
    found = await hub.templates.get(params.name)
    spec = found.stored.spec
    return {"template": {**_version(found), "subject": spec.subject, "text": spec.text, "html": spec.html}}


async def history(hub: Hub, params: p.TemplateName) -> r.TemplateHistory:
    """All versions of a template, newest first."""
    _check_name(params.name)
    versions = await hub.templates.history(params.name)
    return {"name": params.name, "versions": [_version(each) for each in versions]}


async def delete(hub: Hub, params: p.TemplateDelete, command: Command) -> Done:
    """Delete a template with all its versions. Campaigns that have begun keep their content."""
    _check_name(params.name)
    return await command.write(hub.templates.deleting(params.name), lambda _: command.done(changed=True))


def _check_name(name: str) -> None:
    try:
        version = parse_reference(name)[1]
    except BadInput as error:
        raise BadInput.at("name", problem_of(error)) from None
    if version is not None:
        raise BadInput.at("name", "names one version; give only the name of the template")


def _version(found: TemplateUsers) -> r.TemplateVersion:
    return {
        "name": found.stored.spec.name,
        "version": found.stored.version,
        "channel": found.stored.spec.channel.value,
        "created_at": time_text(found.stored.created_at),
        "campaigns": list(found.campaigns),
    }


METHODS = (
    changes(
        "template.apply",
        "Create templates from their files, or new versions of them.",
        p.TemplateApply,
        r.TemplatesApplied,
        apply,
        disk=Disk.NEEDS_SPACE,
    ),
    reads("template.list", "All templates.", Params, r.TemplatesResult, list_all),
    reads("template.get", "One version of a template.", p.TemplateReference, r.TemplateResult, get),
    reads("template.history", "All versions of a template.", p.TemplateName, r.TemplateHistory, history),
    changes("template.delete", "Delete a template.", p.TemplateDelete, Done, delete),
)
