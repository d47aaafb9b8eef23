{
  // A page from the disk may come to this line before Chromium's browser process knows of it. Whoever asks for what is
  // kept then gets an empty store of this page's own, for as long as the page is open. Asking for cookies waits until it
  // knows.
  if (location.protocol === "file:") document.cookie;
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {} // a browser that keeps nothing
  document.documentElement.dataset.theme = chosen ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}
