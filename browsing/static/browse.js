// An image that cannot be loaded gives way to a drawing with its caption.
function redraw(image) {
  if (image.dataset.drawn && !image.dataset.tried) {
    image.dataset.tried = "yes";
    image.src = image.dataset.drawn;
  }
}
document.addEventListener("error", (event) => {
  if (event.target instanceof HTMLImageElement) redraw(event.target);
}, true);
// Those that failed before this script ran.
document.querySelectorAll("img[data-drawn]").forEach((image) => {
  if (image.complete && image.naturalWidth === 0) redraw(image);
});
// The answer to a chosen picture gets the focus, so that keyboards and screen readers go on from there.
document.addEventListener("htmx:afterSwap", (event) => {
  const heading = event.target.querySelector("h2[tabindex]");
  if (heading) {
    heading.focus({ preventScroll: true });
    heading.scrollIntoView({ block: "start" });
  }
});
