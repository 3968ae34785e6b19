/** What hubd found in the words of a message: by the part it is in, and the line. */

/** @typedef {{line: number, problem: string, bad: boolean}} Finding bad: the campaign cannot be saved like this */

const PLACE = /^(\w+) line (\d+)$/;

/**
 * The findings in one part, by line: faults first, then what is probably not meant.
 * @param {string} part such as "text"
 * @param {Record<string, string>} faults problem by path
 * @param {{path: string, problem: string}[]} warnings
 * @returns {Finding[]}
 */
export function findingsIn(part, faults, warnings) {
  const all = [
    ...Object.entries(faults).map(([path, problem]) => ({ path, problem, bad: true })),
    ...warnings.map((each) => ({ ...each, bad: false })),
  ];
  return all
    .flatMap(({ path, problem, bad }) => {
      const place = PLACE.exec(path);
      return place?.[1] === part ? [{ line: Number(place[2]), problem, bad }] : [];
    })
    .sort((one, other) => one.line - other.line);
}

/**
 * Where a line of a text begins and ends, counted in characters; the end of the text for a line that is not there.
 * @param {string} text
 * @param {number} line from 1
 * @returns {[number, number]}
 */
export function spanOfLine(text, line) {
  const lines = text.split('\n');
  const before = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
  const from = Math.min(before, text.length);
  return [from, from + (lines[line - 1]?.length ?? 0)];
}
