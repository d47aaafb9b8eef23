// What a page does once it is attached. The names of the outside that matter are shut out: with a
// MathJax in sight, the packages below would fetch another one from the network.
(function (MathJax) {
  const script = function (root, live, fixed) {
$script
  };
  let tries = 0;
  (function start() {
    const roots = document.querySelectorAll('.study-$kind[data-name="$name"]:not([data-ready])');
    roots.forEach((root) => {
      root.dataset.ready = "";
      const live = root.querySelector(".study-live");
      const fixed = root.querySelector(".study-static");
      try {
        script(root, live, fixed);
        live.hidden = false;
        fixed.hidden = true;
      } catch (error) {
        console.error(error); // the text stays where it is
      }
    });
    if (roots.length === 0 && tries++ < 300) setTimeout(start, 100);
  })();
})(undefined);
