// @ts-check
// The files of a drop, folders walked.

const byName = new Intl.Collator(undefined, { numeric: true }).compare;

/** @param {DragEvent} event */
export function holdsFiles(event) {
  return Boolean(event.dataTransfer?.types.includes("Files"));
}

/** All files below what was dropped, and those the browser could not read, each with the reason.
 * @param {DataTransfer} transfer
 * @returns {Promise<{files: File[], problems: [string, string][]}>} */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(entry => entry != null);
  /** @type {File[]} */
  const files = [];
  /** @type {[string, string][]} */
  const problems = [];
  if (!entries.length) return { files: [...transfer.files], problems };
  /** @param {FileSystemEntry} entry */
  const walk = async entry => {
    if (entry instanceof FileSystemFileEntry) {
      try {
        files.push(await new Promise((done, failed) => entry.file(done, failed)));
      } catch {
        problems.push([entry.name, "the browser could not read it"]);
      }
    }
    if (!(entry instanceof FileSystemDirectoryEntry)) return;
    const reader = entry.createReader();
    for (;;) {
      /** @type {FileSystemEntry[]} a reader gives a hundred at a time */
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const inner of some.sort((a, b) => byName(a.name, b.name))) await walk(inner);
    }
  };
  for (const entry of entries) await walk(entry);
  return { files, problems };
}
