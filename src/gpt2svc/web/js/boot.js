// Before the first paint: theme and language, so that nothing flashes.
(() => {
  const root = document.documentElement;
  /** @param {string} name */
  const read = (name) => {
    try {
      return JSON.parse(localStorage.getItem(`gpt2svc:${name}`) ?? "null");
    } catch {
      return null;
    }
  };
  root.dataset.theme = read("theme") ?? "system";
  root.lang = read("language") ?? (navigator.languages.some((tag) => tag.startsWith("uk")) ? "uk" : "en");
})();
