// Fragments that ask every few seconds (hx-trigger="every 4s") don't ask while nobody looks, and nothing moves unless
// something happened: an answer like the last one is not swapped in, so focus, selection and scrolling stay.
const last = new WeakMap();

export function setUpPolling() {
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (isPolling(event.detail.elt) && document.hidden) event.preventDefault();
  });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const { elt, serverResponse } = event.detail;
    if (!isPolling(elt) || event.detail.xhr.status !== 200) return;
    const answer = withoutTimes(serverResponse);
    if (last.get(elt) === answer) event.detail.shouldSwap = false;
    last.set(elt, answer);
  });
}

function isPolling(element) {
  return element.getAttribute("hx-trigger")?.startsWith("every ");
}

function withoutTimes(html) {
  return html.replace(/(<time[^>]*>)[^<]*/g, "$1").replace(/name="csrfmiddlewaretoken" value="[^"]*"/g, "");
}
