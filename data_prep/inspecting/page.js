// Keys of the page: they press its buttons, unless somebody is typing or holds a modifier.
(() => {
  const presses = { j: "next", k: "previous", r: "random", u: "unflag" };
  const typing = (node) => node && (node.isContentEditable || /^(INPUT|TEXTAREA|SELECT|AUDIO)$/.test(node.tagName));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(document.activeElement)) return;
    const visible = (selector) => [...document.querySelectorAll(selector)].find((node) => node.offsetParent);
    if (event.key in presses) {
      const button = visible(`#${presses[event.key]}`) || visible(`#pair-${presses[event.key]}`);
      if (button) button.click();
    } else if (event.key === "p") {
      const audio = visible(".alm-sound audio");
      if (audio?.paused) audio.play().catch(() => {});  // refused where the record changes just then
      else audio?.pause();
    } else if (event.key === "/") {
      visible("#search textarea, #search input")?.focus();
    } else if (event.key === "f") {
      visible("#reason input")?.focus();
    } else return;
    event.preventDefault();
  });
  document.documentElement.dataset.almKeys = "ready";
})();
