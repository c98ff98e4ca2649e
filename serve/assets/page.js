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

  // Gradio leaves the question's field without a name when its label is not shown.
  const nameField = () => document.querySelector("#question textarea:not([aria-label])")?.setAttribute("aria-label", "Question");
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
