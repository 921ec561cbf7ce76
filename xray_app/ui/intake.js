// Scans in: files and folders, dropped or chosen, handed to the desk a few at a time, so that the first is on the
// screen while the rest are still being read, and a cancel takes effect at once.
const desk = window.xrayDesk;
const find = selector => element.querySelector(selector);
const progress = find(".progress"), words = find(".progress-words"), bar = find(".bar i"), goOn = find(".go-on"), refusedHere = find("#refused"), folder = find("input.folder");
const AT_ONCE_SECONDS = 2, MOST_AT_ONCE = 8, MOST_BYTES = 24e6, MOST_LISTED = 200;
const most = (props.max_mb || 50) * 1024 * 1024;
// Waiting and sent files, each with what the fields below said when it was dropped.
let waiting = [], sent = [], refused = [], done = 0, all = 0, busy = false, resent = false, started = 0, perScan = null, late = 0, dropped = null;

const transport = () => document.querySelector("#upload input[type=file]");
const FIELDS = { scanner: "scanner-id", bag: "bag-id", view: "view-name" };
const field = name => document.querySelector(`#${FIELDS[name]} input, #${FIELDS[name]} textarea`);
const isScan = file => !file.name.startsWith(".") && !/^(thumbs\.db|desktop\.ini)$/i.test(file.name);

/** Puts files into the queue of this page; what the last drop had not read is put away with a new one. */
function take({ files, problems }) {
  const fit = [], facts = Object.fromEntries(Object.keys(FIELDS).map(name => [name, field(name) ? field(name).value : ""]));
  for (const file of files.filter(isScan)) {
    if (file.size > most) problems.push([file.name, `larger than ${Math.round(most / 1048576)} MB`]);
    else if (!file.size) problems.push([file.name, "the file is empty"]);
    else fit.push(file);
  }
  if (!busy && !waiting.length) { done = 0; all = 0; refused = []; desk.dropped = true; }
  refused.push(...problems);
  waiting.push(...fit.map(file => ({ file, facts })));
  if (fit.length) dropped = facts;
  all += fit.length;
  draw();
  if (!busy && fit.length) send();
}
function send() {
  if (!waiting.length) { finish(); return; }
  const count = perScan === null ? 1 : Math.min(MOST_AT_ONCE, Math.max(1, Math.round(AT_ONCE_SECONDS / perScan)));
  const bundle = new DataTransfer(), { facts } = waiting[0];
  const fits = ({ file, facts: its }) => !sent.length || (sent.length < count && its === facts && bytes + file.size <= MOST_BYTES);
  let bytes = 0;
  sent = [];
  while (waiting.length && fits(waiting[0])) {
    const one = waiting.shift();
    bytes += one.file.size;
    bundle.items.add(one.file);
    sent.push(one);
  }
  desk.sending = { ...facts, resent };
  busy = true;
  started = performance.now();
  hand(bundle.files, 200);
}
/** Gradio takes its input away while files are on their way, and puts it back afterwards. */
function hand(files, tries) {
  const input = transport();
  if (!input) { if (tries) setTimeout(() => hand(files, tries - 1), 50); else stalled(); return; }
  clearTimeout(late);
  late = setTimeout(stalled, 60000);
  goOn.hidden = true;
  input.files = files;
  input.dispatchEvent(new CustomEvent("change", { bubbles: true, detail: "from-intake" }));
  draw();
}
function settled() {
  if (!busy) return;
  busy = resent = false;
  clearTimeout(late);
  goOn.hidden = true;
  perScan = (performance.now() - started) / 1000 / Math.max(1, sent.length);
  done += sent.length;
  sent = [];
  send();
  draw();
}
/** No answer: the files that were on their way wait again, and the person says when to go on. */
function stalled() {
  if (!busy) return;
  clearTimeout(late);
  goOn.hidden = false;
  draw();
}
function resume() {
  if (!busy) return;
  waiting.unshift(...sent);
  sent = []; busy = false;
  resent = true;  // the desk may have analysed them before it fell silent
  send();
}
function cancel() {
  all -= waiting.length;
  waiting = [];
  if (!goOn.hidden) { all -= sent.length; sent = []; busy = false; finish(); }
  draw();
}
function finish() {
  clearTimeout(late);
  // The bag's name and view were those of these scans: the next ones are of another bag, whose name may be there already.
  for (const name of ["bag", "view"]) {
    const node = field(name);
    if (dropped && node && node.value && node.value === dropped[name]) { node.value = ""; node.dispatchEvent(new Event("input", { bubbles: true })); }
  }
  dropped = null;
  draw();
}
function draw() {
  progress.hidden = !busy && !waiting.length;
  const now = Math.min(all, done + 1), left = waiting.length + sent.length;
  words.textContent = !goOn.hidden ? `No answer at ${now} of ${all}` : `Analysing ${now} of ${all}${perScan && left * perScan > 20 ? `, ${Math.ceil(left * perScan / 60)} min` : ""}`;
  bar.style.width = `${all ? (100 * done) / all : 0}%`;
  bar.parentElement.setAttribute("aria-valuenow", done);
  bar.parentElement.setAttribute("aria-valuemax", all);
  if (!refused.length) { refusedHere.replaceChildren(); return; }
  const box = document.createElement("div"), title = document.createElement("strong"), list = document.createElement("ul"), away = document.createElement("button");
  box.className = "refused";
  box.setAttribute("role", "alert");
  title.textContent = `${refused.length} not read:`;
  away.type = "button"; away.textContent = "×"; away.title = "put this list away"; away.setAttribute("aria-label", "put this list away");
  away.addEventListener("click", () => { refused = []; draw(); });
  for (const [name, reason] of refused.slice(0, MOST_LISTED)) { const row = document.createElement("li"); row.textContent = `${name}: ${reason}`; list.append(row); }
  if (refused.length > MOST_LISTED) { const row = document.createElement("li"); row.textContent = `and ${refused.length - MOST_LISTED} more`; list.append(row); }
  box.append(title, away, list);
  refusedHere.replaceChildren(box);
}

// --- ways in --------------------------------------------------------------------------------------------------
/** All files below what was dropped; folders are walked. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  const files = [], problems = [];
  if (!entries.length) return { files: [...transfer.files], problems };
  const walk = async entry => {
    if (entry.isFile) { try { files.push(await new Promise((ok, no) => entry.file(ok, no))); } catch { problems.push([entry.name, "the browser could not read it"]); } return; }
    const reader = entry.createReader();
    for (;;) {  // a reader gives a hundred at a time
      const some = await new Promise((ok, no) => reader.readEntries(ok, no));
      if (!some.length) return;
      for (const inner of some.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }))) await walk(inner);
    }
  };
  for (const entry of entries) await walk(entry);
  return { files, problems };
}
const here = () => element.offsetParent !== null;
const holdsFiles = event => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
document.addEventListener("dragover", event => { if (here() && holdsFiles(event)) { event.preventDefault(); event.stopPropagation(); element.classList.add("over"); } }, true);
document.addEventListener("dragleave", event => { if (!event.relatedTarget) element.classList.remove("over"); });
document.addEventListener("drop", event => {
  element.classList.remove("over");
  if (!here() || !holdsFiles(event)) return;
  event.preventDefault();
  event.stopPropagation();
  filesOf(event.dataTransfer).then(take);
}, true);
// Files chosen by the desk's own field come this way too.
document.addEventListener("change", event => {
  if (event.target !== transport() || event.detail === "from-intake") return;
  event.stopImmediatePropagation();
  const files = [...event.target.files];
  event.target.value = "";
  take({ files, problems: [] });
}, true);
folder.addEventListener("change", event => { event.stopPropagation(); take({ files: [...folder.files].sort((a, b) => a.webkitRelativePath.localeCompare(b.webkitRelativePath, undefined, { numeric: true })), problems: [] }); folder.value = ""; });
find("#add-files").addEventListener("click", () => { const input = transport(); if (input) input.click(); });
find("#add-folder").addEventListener("click", () => folder.click());
find(".cancel").addEventListener("click", cancel);
goOn.addEventListener("click", resume);
window.addEventListener("beforeunload", event => { if (waiting.length) event.preventDefault(); });

watch("value", () => { for (const one of (props.value && props.value.refused) || []) refused.push([sent[one.index] ? sent[one.index].file.name : one.name, one.reason]); draw(); });
desk.subscribe(what => { if (what === "intake-done") settled(); else if (what === "alarm") stalled(); });
draw();
