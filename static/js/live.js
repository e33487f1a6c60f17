// <… data-changes="/streams/…"> tells when something happened to what the page shows: "changed" is then sent to the body, and
// fragments ask for themselves again (the tag `live`). A page that nobody looks at holds no connection: browsers have only a few.
const last = new Map();
const RETRY_SECONDS = 10;

export function setUpLive() {
  for (const fragment of document.querySelectorAll("[data-live]")) last.set(fragment.id, essence(fragment));
  document.body.addEventListener("htmx:beforeSwap", onlyWhenDifferent);
  const listener = document.querySelector("[data-changes]");
  if (listener) listen(listener.dataset.changes);
}

// Nothing moves unless something happened: focus, selection and scrolling stay when the answer says the same.
function onlyWhenDifferent(event) {
  const { elt, xhr, serverResponse } = event.detail;
  if (!elt.hasAttribute("data-live") || xhr.status !== 200) return;
  if (new URL(xhr.responseURL).pathname === "/login") return location.reload(); // signed out meanwhile
  const fresh = new DOMParser().parseFromString(serverResponse, "text/html").getElementById(elt.id);
  if (!fresh) {
    event.detail.shouldSwap = false;
    return;
  }
  const answer = essence(fresh);
  if (last.get(elt.id) === answer) event.detail.shouldSwap = false;
  last.set(elt.id, answer);
}

// Without what differs every time: relative times, the tokens of forms.
function essence(element) {
  return element.outerHTML.replace(/(<time[^>]*>)[^<]*/g, "$1").replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "").replace(/ class="htmx-[^"]*"/g, "");
}

function listen(address) {
  let source = null;
  let timer = null;
  const tell = () => {
    clearTimeout(timer);
    timer = setTimeout(() => document.body.dispatchEvent(new CustomEvent("changed")), 150);
  };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(address);
    source.addEventListener("changed", tell);
    source.addEventListener("error", () => {
      if (source?.readyState !== EventSource.CLOSED) return;
      source = null;
      setTimeout(() => { tell(); open(); }, RETRY_SECONDS * 1000);
    });
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else { open(); tell(); }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => { // back from the browser's memory
    if (event.persisted) { open(); tell(); }
  });
  open();
}
