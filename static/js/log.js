// <pre data-stream="/streams/…"> follows its events: each message is a line, "end" is the last. It scrolls along as long as
// its reader is at the end. When it has ended, whatever listens for "log-ended" on the page is told (htmx fragments do).
const MOST_LINES = 5000;

export function setUpLogs() {
  document.querySelectorAll("pre[data-stream]").forEach(follow);
  document.body.addEventListener("htmx:load", (event) => {
    event.target.querySelectorAll?.("pre[data-stream]").forEach(follow);
  });
}

export function follow(log) {
  if (log.dataset.following) return;
  log.dataset.following = "yes";
  const source = new EventSource(log.dataset.stream);
  let fresh = true;
  source.addEventListener("open", () => { fresh = true; });
  source.addEventListener("message", (event) => {
    if (fresh && log.dataset.restarts !== undefined) log.replaceChildren();
    fresh = false;
    append(log, event.data);
  });
  source.addEventListener("end", () => {
    source.close();
    htmx.trigger(document.body, "log-ended");
  });
  window.addEventListener("pagehide", () => source.close());
}

function append(log, text) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  for (const line of text.split("\n")) {
    const row = document.createElement("span");
    row.className = `log-line ${classOf(line)}`;
    row.textContent = `${line}\n`;
    log.append(row);
  }
  while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function classOf(line) {
  if (line.startsWith("----->")) return "log-head";
  return line.startsWith(" !") ? "log-error" : "";
}
