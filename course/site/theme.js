{
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {} // a browser that keeps nothing
  document.documentElement.dataset.theme = chosen ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}
