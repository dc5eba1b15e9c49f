/* Forms are sent once and say so; dialogs ask before something is deleted.  Works on parts that come later, too. */

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form.once")) {
    return;
  }
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  const button = event.submitter ?? form.querySelector("button");
  button.setAttribute("aria-disabled", "true");
  button.classList.add("disabled");
  if (button.dataset.busy) {
    button.dataset.label = button.textContent;
    button.textContent = button.dataset.busy;
  }
});

/* Whoever comes back to the page by the browser's history finds its buttons as they were. */
window.addEventListener("pageshow", (event) => {
  if (event.persisted) {
    window.location.reload();
  }
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  const dialog = opener && document.getElementById(opener.dataset.opens);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
    return;
  }
  const closer = event.target.closest("dialog [data-closes]");
  if (closer) {
    event.preventDefault();
    closer.closest("dialog").close();
  }
});
