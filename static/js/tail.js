// <pre data-tail="/streams/…?after=3-14"> goes on where the server's lines end; with data-tail-bare it shows the texts alone. It
// scrolls along as long as its reader is at the end, can be paused, and holds no connection while it is paused or nobody looks.
const MOST_LINES = 5000;

export function setUpTail() {
  const log = document.querySelector("pre[data-tail]");
  if (log) tail(log);
}

function tail(log) {
  const address = new URL(log.dataset.tail, location.href);
  const state = document.querySelector("[data-tail-state]");
  const button = document.querySelector("[data-tail-pause]");
  let source = null;
  let isPaused = false;
  let isOver = false;

  const say = (text) => { if (state && state.textContent !== text) state.textContent = text; };
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (source || isPaused || isOver || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("open", () => say("Live"));
    source.addEventListener("log", (event) => {
      address.searchParams.set("after", event.lastEventId);
      append(log, JSON.parse(event.data).lines);
    });
    source.addEventListener("end", () => {
      isOver = true;
      close();
      say("Over");
      document.body.dispatchEvent(new CustomEvent("changed"));
    });
    source.addEventListener("refused", (event) => {
      isPaused = true;
      close();
      say(JSON.parse(event.data).message);
    });
    source.addEventListener("error", () => {
      say("Connecting…");
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      setTimeout(open, 5000);
    });
  };
  const pause = (wish) => {
    isPaused = wish;
    button?.setAttribute("aria-pressed", String(isPaused));
    const word = button?.querySelector("span");
    if (word) word.textContent = isPaused ? "Resume" : "Pause";
    if (isPaused) {
      close();
      say("Paused");
    } else {
      open();
    }
  };
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => pause(!isPaused));
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  log.scrollTop = log.scrollHeight;
  open();
}

function append(log, lines) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const rows = document.createDocumentFragment();
  const make = log.dataset.tailBare === undefined ? row : bareRow;
  for (const line of lines) rows.append(make(line));
  document.querySelector("[data-tail-empty]")?.remove();
  log.append(rows);
  while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function bareRow(line) {
  const element = document.createElement("span");
  element.className = "log-line";
  element.textContent = `${line.text}\n`;
  return element;
}

// As the template writes it.
function row(line) {
  const element = document.createElement("span");
  element.className = "log-line";
  const time = document.createElement("span");
  time.className = "log-quiet";
  time.textContent = line.at.slice(0, 23);
  const source = document.createElement("b");
  source.className = `log-source log-source-${line.source}`;
  source.textContent = line.label;
  element.append(time, " ", source, ` ${line.text}\n`);
  return element;
}
