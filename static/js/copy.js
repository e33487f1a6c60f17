// <button data-copy="text"> copies its text and says so.
export function setUpCopy() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await write(button.dataset.copy);
    const word = button.querySelector("[data-copy-word]");
    const before = (button.dataset.word ??= word?.textContent ?? "");
    const icon = button.querySelector("use");
    const symbol = (button.dataset.symbol ??= icon?.getAttribute("href") ?? "");
    button.dataset.copied = "";
    if (word) word.textContent = "Copied";
    icon?.setAttribute("href", symbol.replace(/#.*/, "#check"));
    word?.setAttribute("role", "status");
    clearTimeout(button.timer);
    button.timer = setTimeout(() => {
      delete button.dataset.copied;
      if (word) word.textContent = before;
      icon?.setAttribute("href", symbol);
    }, 1500);
  });
}

// The clipboard needs a secure page; *.localhost is one, http:// on a LAN is not.
async function write(text) {
  if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
