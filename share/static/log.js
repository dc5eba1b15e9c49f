/* A log: lines with numbers that can be linked to, followed while one looks at its end. */

const MOST_LINES = 20_000; // beyond that the oldest go, for a browser's sake

export class LogView {
  constructor(element) {
    this.element = element;
    this.next = Number(element.dataset.next); // the number of the next line; 0 when they are not counted
    this.open = "open" in element.dataset ? element.lastElementChild : null; // the line that has no end yet
    this.waiting = "";
    this.follow = document.getElementById("follow");
    this.setFollowing(!window.location.hash);
    this.follow.hidden = false;
    this.follow.addEventListener("click", () => this.setFollowing(!this.following));
    element.addEventListener("scroll", () => this.noticeScrolling());
    window.addEventListener("hashchange", () => this.setFollowing(false));
    this.offerCopying(document.getElementById("copy"));
  }

  append(text) {
    if (!this.waiting) {
      window.requestAnimationFrame(() => this.show());
    }
    this.waiting += text;
  }

  show() {
    const lines = this.waiting.split("\n");
    this.waiting = "";
    const last = lines.pop();
    const added = document.createDocumentFragment();
    for (const line of lines) {
      this.line(added).append(`${line}\n`);
      this.open = null;
    }
    if (last) {
      this.open = this.line(added);
      this.open.append(last);
    }
    this.element.append(added);
    while (this.element.childElementCount > MOST_LINES) {
      this.element.firstElementChild.remove();
    }
    if (this.following) {
      this.element.scrollTop = this.element.scrollHeight;
    }
  }

  line(added) {
    if (this.open) {
      return this.open;
    }
    const line = document.createElement("span");
    line.className = "line";
    if (this.next) {
      line.id = `L${this.next}`;
      const anchor = document.createElement("a");
      anchor.href = `#${line.id}`;
      anchor.dataset.number = this.next;
      anchor.tabIndex = -1;
      anchor.setAttribute("aria-hidden", "true");
      line.append(anchor);
      this.next += 1;
    }
    added.append(line);
    return line;
  }

  setFollowing(following) {
    this.following = following;
    this.follow.setAttribute("aria-pressed", String(following));
    this.follow.classList.toggle("active", following);
    if (following) {
      this.element.scrollTop = this.element.scrollHeight;
    }
  }

  noticeScrolling() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    const atEnd = scrollHeight - scrollTop - clientHeight < 8;
    if (scrollHeight > clientHeight && atEnd !== this.following) {
      this.setFollowing(atEnd);
    }
  }

  offerCopying(button) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await this.copy();
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not copied";
      }
      window.setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }

  async copy() {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(this.element.textContent);
      return;
    }
    // Without HTTPS there is no clipboard; what is selected can be copied all the same.
    const selection = window.getSelection();
    selection.selectAllChildren(this.element);
    const copied = document.execCommand("copy");
    selection.removeAllRanges();
    if (!copied) {
      throw new Error("The browser does not copy.");
    }
  }
}
