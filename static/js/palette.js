// "/" or Ctrl-K opens the search over apps and pages; arrows choose, Enter goes there.
export function setUpPalette() {
  const palette = document.getElementById("palette");
  if (!palette) return;
  const input = palette.querySelector("input");
  const results = document.getElementById("palette-results");

  const open = () => {
    if (palette.open) return;
    palette.showModal();
    input.select();
    input.dispatchEvent(new CustomEvent("palette-opened"));
  };
  document.addEventListener("keydown", (event) => {
    const types = event.target.closest("input, textarea, select, [contenteditable]");
    const wanted = (event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !types && !event.ctrlKey && !event.metaKey && !event.altKey);
    if (!wanted) return;
    event.preventDefault();
    open();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-opens-palette]") && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      open();
    }
    if (event.target === palette) palette.close();
  });

  const links = () => [...results.querySelectorAll("a")];
  const choose = (index) => {
    const all = links();
    all.forEach((link, at) => {
      link.toggleAttribute("data-active", at === index);
      link.setAttribute("aria-selected", String(at === index));
    });
    const link = all[index];
    link?.scrollIntoView({ block: "nearest" });
    if (link) input.setAttribute("aria-activedescendant", link.id);
    else input.removeAttribute("aria-activedescendant");
  };
  const chosen = () => links().findIndex((link) => link.hasAttribute("data-active"));
  results.addEventListener("htmx:afterSwap", () => choose(0));
  input.addEventListener("keydown", (event) => {
    const count = links().length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (count) choose((chosen() + (event.key === "ArrowDown" ? 1 : -1) + count) % count);
    } else if (event.key === "Enter" && links()[chosen()]) {
      event.preventDefault();
      links()[chosen()].click();
    }
  });
}
