/* Light or dark, as chosen on the hub's own pages: the same attribute, the same key (jupyterhub's darkmode.js).
   Loaded before anything is shown, so that no page flashes. */
"use strict";
(() => {
  const key = "jupyterhub-bs-theme";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");

  const chosen = () => {
    try {
      return window.localStorage.getItem(key);
    } catch {
      return null; // storage may be refused; then the system decides
    }
  };

  const show = () => {
    const theme = chosen();
    const follows = theme !== "light" && theme !== "dark";
    document.documentElement.dataset.bsTheme = follows ? (dark.matches ? "dark" : "light") : theme;
  };

  show();
  dark.addEventListener("change", show);
  window.addEventListener("storage", show);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      const other = document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark";
      document.documentElement.dataset.bsTheme = other;
      try {
        window.localStorage.setItem(key, other);
      } catch {
        /* it holds for this page */
      }
    });
  });
})();
