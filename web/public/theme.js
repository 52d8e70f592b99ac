// Runs before the page is painted, so that it does not flash in the wrong colours. The rest of the
// theme switch is src/theme.ts.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem('nexus-theme');
  } catch {
    // Storage may be forbidden; the system's colours will do.
  }
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  document.documentElement.dataset.theme = chosen ?? (dark ? 'dark' : 'light');
})();
