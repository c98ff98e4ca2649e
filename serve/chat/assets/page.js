// Players of the recording cards: bars, lists, waveform and spectrogram jump to their time; a line shows where it plays.
// Listeners sit on the document, because the cards are drawn anew whenever a recording comes or goes.
(() => {
  const cardOf = (node) => node.closest(".alm-card");
  const lengthOf = (card) => Number(card.dataset.seconds) || 0;

  const playFrom = (card, seconds) => {
    const audio = card.querySelector("audio");
    audio.currentTime = Math.max(0, Math.min(seconds, lengthOf(card)));
    audio.play().catch(() => {});
  };

  document.addEventListener("click", (event) => {
    const jump = event.target.closest && event.target.closest(".alm-card [data-seek]");
    if (jump) {
      playFrom(cardOf(jump), Number(jump.dataset.seek));
      return;
    }
    const picture = event.target.closest && event.target.closest(".alm-card [data-scrub]");
    if (picture) {
      const box = picture.getBoundingClientRect();
      playFrom(cardOf(picture), ((event.clientX - box.left) / box.width) * lengthOf(cardOf(picture)));
    }
  });

  // A player whose sound is gone says so instead of staying silent.
  document.addEventListener("error", (event) => {
    const card = event.target.matches?.(".alm-card audio") && cardOf(event.target);
    if (!card || card.querySelector(".alm-expired")) return;
    const note = document.createElement("p");
    note.className = "alm-note alm-problem alm-expired";
    note.setAttribute("role", "alert");
    note.textContent = "This recording has expired on the server. Attach it again to hear it or to ask about it.";
    event.target.after(note);
  }, true);

  // Export: the conversation goes from the page to the disk without lying on the server.
  window.almSave = (row) => {
    if (!row) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(row) + "\n"], { type: "application/json" }));
    link.download = `alm-conversation-${row.id}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };

  // Questions are edited and copied as they were typed: without their recordings' lines and without the escapes of
  // Markdown. Answers are copied without their counters.
  const asTyped = (text) => text.split("\n").filter((line) => !/^\u266a \*\*/.test(line)).join("\n")
    .replace(/\\([!-/:-@[-`{-~])/g, "$1").replace(/^\u00a0+/gm, (blanks) => " ".repeat(blanks.length));
  const counters = /\n\n<small>[^<]*<\/small>$/;
  const write = navigator.clipboard?.writeText.bind(navigator.clipboard);
  if (write) navigator.clipboard.writeText = (text) => write(counters.test(text) ? text.replace(counters, "") : asTyped(text));
  const unescapeField = (field) => {
    if (field.dataset.alm) return;
    field.dataset.alm = "typed";
    field.setAttribute("aria-label", "Edit question");
    field.value = asTyped(field.value);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };

  // Gradio leaves the question's field without a name when its label is not shown. The status line is announced only if
  // what holds it was there before its text.
  const nameField = () => {
    const line = document.querySelector("#status:not([aria-live])");
    if (line) { line.setAttribute("role", "status"); line.setAttribute("aria-live", "polite"); }
    document.querySelector("#question textarea:not([aria-label])")?.setAttribute("aria-label", "Question");
    // Icons stand in buttons that have a name; without one of their own they are noise.
    for (const icon of document.querySelectorAll("svg:not([aria-label], [aria-hidden])")) icon.ariaHidden = "true";
    for (const field of document.querySelectorAll("#conversation .edit-textarea")) unescapeField(field);
  };
  new MutationObserver(nameField).observe(document.documentElement, { childList: true, subtree: true });

  const moveHead = (audio) => {
    const card = cardOf(audio);
    if (!card || !lengthOf(card)) return;
    const head = card.querySelector(".alm-head");
    head.style.left = `${(100 * audio.currentTime) / lengthOf(card)}%`;
    head.style.opacity = audio.currentTime > 0 ? "0.9" : "0";
    if (!audio.paused && !audio.ended) requestAnimationFrame(() => moveHead(audio));
  };
  // Media events do not bubble, but they can be captured on the way down.
  for (const name of ["play", "timeupdate", "seeked", "ended"]) {
    document.addEventListener(name, (event) => event.target.matches?.(".alm-card audio") && moveHead(event.target), true);
  }
  document.addEventListener("play", (event) => {
    for (const other of document.querySelectorAll(".alm-card audio")) if (other !== event.target) other.pause();
  }, true);
})();
