// <pre data-stream="/streams/…?after=120"> goes on where the server's lines end: each message holds lines, "end" is the last. It
// scrolls along as long as its reader is at the end, and holds no connection while nobody looks.
const MOST_LINES = 5000;

export function setUpLogs() {
  document.querySelectorAll("pre[data-stream]").forEach(follow);
}

export function follow(log) {
  const address = new URL(log.dataset.stream, location.href);
  let source = null;
  let isOver = false;
  const open = () => {
    if (source || isOver || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("message", (event) => {
      if (event.lastEventId) address.searchParams.set("after", event.lastEventId);
      append(log, event.data.split("\n"));
    });
    source.addEventListener("end", () => {
      isOver = true;
      close();
      document.body.dispatchEvent(new CustomEvent("changed"));
    });
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      setTimeout(open, 5000);
    });
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => event.persisted && open());
  log.scrollTop = log.scrollHeight;
  open();
}

function append(log, lines) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const rows = document.createDocumentFragment();
  for (const line of lines) {
    const row = document.createElement("span");
    row.className = `log-line ${classOf(line)}`;
    row.textContent = `${line}\n`;
    rows.append(row);
  }
  log.append(rows);
  while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// As the filter `log_class`.
function classOf(line) {
  if (line.startsWith("----->")) return "log-head";
  return line.startsWith(" !") ? "log-error" : "";
}
