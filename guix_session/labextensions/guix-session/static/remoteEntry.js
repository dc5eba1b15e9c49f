/* JupyterLab's part of what a session tells people, as JupyterLab loads it: a container of modules ("module federation"),
   written by hand. All packages it uses are JupyterLab's own, out of the scope that `init` is given. */
(() => {
  "use strict";

  const NAME = "guix-session";
  const EVENT = "https://guixspawner.example/session/v1";
  const LOOK_SECONDS = 60;
  const ACTIVITY_SECONDS = 30;
  const ABOUT = "guix-session:about";
  const UPDATE = "guix-session:update";

  let scope = {};

  /** Return JupyterLab's own copy of the package NAME. */
  async function shared(name) {
    const [version] = Object.values(scope[name]);
    return (await version.get())();
  }

  /** The session's own addresses (guix_session/extension.py). */
  class Server {
    constructor(services, coreutils) {
      this.connection = services.ServerConnection;
      this.settings = this.connection.makeSettings();
      this.address = (name) => coreutils.URLExt.join(this.settings.baseUrl, NAME, name);
    }

    async ask(name, method = "GET") {
      const answer = await this.connection.makeRequest(this.address(name), { method, cache: "no-store" }, this.settings);
      if (!answer.ok) throw new this.connection.ResponseError(answer);
      return answer.status === 204 ? null : answer.json();
    }
  }

  /** Shows each notice while it holds, and the same one never twice. */
  class Notices {
    constructor(server, apputils, explain) {
      this.server = server;
      this.notification = apputils.Notification;
      this.explain = explain;
      this.shown = new Map();
      this.memory = 0;
    }

    show(state) {
      const now = new Map(state.notices.map((notice) => [notice.kind, notice]));
      for (const [kind, id] of this.shown) {
        if (!now.has(kind)) {
          this.notification.dismiss(id);
          this.shown.delete(kind);
        }
      }
      for (const [kind, notice] of now) this.put(kind, notice, state);
      this.memory = state.outOfMemory;
    }

    put(kind, notice, state) {
      const again = kind === "memory" && state.outOfMemory > this.memory;
      if (this.shown.has(kind) && !again) {
        // Whoever closed it has read it.
        if (this.notification.manager.has(this.shown.get(kind))) {
          this.notification.update({ id: this.shown.get(kind), message: notice.message, actions: this.actions(notice) });
        }
        return;
      }
      if (this.shown.has(kind)) this.notification.dismiss(this.shown.get(kind));
      const type = kind === "memory" ? "error" : "warning";
      const options = { autoClose: false, actions: this.actions(notice) };
      this.shown.set(kind, this.notification.emit(notice.message, type, options));
    }

    actions(notice) {
      const more = { label: "What this means", callback: (event) => {
        event.preventDefault();
        this.explain(notice.message, notice.details.split("\n"));
      } };
      const stay = { label: "Keep working", displayType: "accent", callback: () => {
        void this.server.ask("activity", "POST");
      } };
      return notice.keepWorking ? [stay, more] : [more];
    }
  }

  /** Offers to bring the working copy to the version that was started. */
  class Updates {
    constructor(server, apputils, explain) {
      this.server = server;
      this.notification = apputils.Notification;
      this.explain = explain;
    }

    /** Say how the working copy stands; when nobody ASKED, only what was not said before in this browser. */
    async look(asked) {
      const standing = await this.server.ask("update");
      const said = `${NAME}:${standing.state}:${standing.head}:${standing.target}`;
      if (standing.state === "none") {
        if (asked) this.notification.info("Your working copy is at the version of this session, or newer.", { autoClose: 5000 });
        return;
      }
      if (!asked && standing.state === "blocked" && window.localStorage.getItem(said)) return;
      window.localStorage.setItem(said, "said");
      this.tell(standing);
    }

    tell(standing) {
      const more = { label: "What is in the way", callback: (event) => {
        event.preventDefault();
        this.explain(standing.message, standing.reasons, "Nothing was changed. Git in a terminal can do the rest: commit or put aside your changes, then merge.");
      } };
      const go = { label: standing.state === "unfinished" ? "Finish" : "Update", displayType: "accent", callback: () => {
        void this.update();
      } };
      const actions = { update: [go], unfinished: [go], blocked: [more] }[standing.state] ?? [];
      const type = { blocked: "warning", done: "success" }[standing.state] ?? "info";
      this.notification.emit(standing.message, type, { autoClose: standing.state === "done" ? 10000 : false, actions });
    }

    async update() {
      try {
        this.tell(await this.server.ask("update", "POST"));
      } catch (error) {
        this.notification.error(`The working copy could not be updated: ${error.message}`);
      }
    }
  }

  /** Tell the server that somebody is there when a key or a pointer says so, and not at every one. */
  function tellOfActivity(server) {
    let told = 0;
    const tell = () => {
      if (Date.now() - told < ACTIVITY_SECONDS * 1000) return;
      told = Date.now();
      server.ask("activity", "POST").catch((error) => console.warn(`${NAME}: ${error.message}`));
    };
    for (const kind of ["keydown", "pointerdown", "wheel"]) document.addEventListener(kind, tell, { capture: true, passive: true });
  }

  function bytes(count) {
    const units = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"]];
    const [factor, unit] = units.find(([least]) => count >= least) ?? [1, "bytes"];
    return `${Number((count / factor).toPrecision(3))} ${unit}`;
  }

  function timeSpan(seconds) {
    const minutes = Math.round(seconds / 60);
    return minutes === 1 ? "a minute" : minutes % 60 ? `${minutes} minutes` : minutes === 60 ? "an hour" : `${minutes / 60} hours`;
  }

  const NETWORKS = {
    none: "none",
    all: "a network of its own, with the Internet",
    filter: "a network of its own, and of the Internet what the administrator allows",
    host: "the machine's own, shared with everything on it",
  };

  /** Return what there is to say about the session as [title, text] pairs. */
  function facts(state) {
    const { limits } = state;
    const held = limits.enforced_by && limits.enforced_by !== "nothing";
    const bound = (value, shown) => (value === null || value === undefined ? "no limit" : shown(value));
    const time = (seconds) => new Date(seconds * 1000).toLocaleString();
    const rows = [
      ["Environment", state.environment],
      ["Repository", state.repository],
      ["Version", [state.ref, state.commit.slice(0, 12)].filter(Boolean).join(", ")],
      ["Working copy", state.project ? `~/${state.project}` : "none"],
      ["Started", time(state.started)],
      ["Ends", state.ends ? `at the latest ${time(state.ends)}` : ""],
      ["Ends without work", state.idleSeconds ? `after ${timeSpan(state.idleSeconds)}` : ""],
      ["Memory", bound(limits.memory, bytes)],
      ["Cores", bound(limits.cpu, String)],
      ["Processes", bound(limits.processes, String)],
      ["Disk", bound(limits.disk, bytes)],
      ["Limits", held ? "enforced by the machine" : "told to programs, and not enforced"],
      ["Network", NETWORKS[limits.network] ?? ""],
    ];
    return rows.filter(([, text]) => text);
  }

  function table(Widget, rows) {
    const node = document.createElement("table");
    for (const [title, text] of rows) {
      const row = node.insertRow();
      const head = document.createElement("th");
      head.textContent = title;
      head.scope = "row";
      head.style.cssText = "text-align: left; vertical-align: top; padding: 2px 16px 2px 0; white-space: nowrap";
      row.append(head);
      row.insertCell().textContent = text;
    }
    return new Widget({ node });
  }

  function paragraphs(Widget, texts) {
    const node = document.createElement("div");
    for (const text of texts) {
      const paragraph = document.createElement("p");
      paragraph.textContent = text;
      paragraph.style.margin = "0 0 8px";
      node.append(paragraph);
    }
    return new Widget({ node });
  }

  /** Have a notebook that names a kernel which is not here, but says its language, get the environment's of that language.

      JupyterLab does so for the language that a kernel wrote into the notebook, and asks where none ever did. */
  function preferLanguage(context) {
    const session = context.sessionContext;
    session.kernelPreferenceChanged.connect((_, change) => {
      const named = context.model.getMetadata("kernelspec");
      if (change.newValue?.name && !change.newValue.language && named?.language) {
        session.kernelPreference = { ...change.newValue, language: named.language };
      }
    });
  }

  async function extension() {
    const names = ["apputils", "services", "coreutils", "statusbar", "mainmenu"].map((name) => `@jupyterlab/${name}`);
    const [apputils, services, coreutils, statusbar, mainmenu] = await Promise.all(names.map(shared));
    const { Widget } = await shared("@lumino/widgets");

    function activate(app, palette, status, menu) {
      const server = new Server(services, coreutils);
      const close = [apputils.Dialog.okButton({ label: "Close" })];
      const show = (title, body) => apputils.showDialog({ title, body, buttons: close });
      const explain = (title, texts, ...more) => show(title, paragraphs(Widget, [...texts, ...more]));
      const notices = new Notices(server, apputils, explain);
      const updates = new Updates(server, apputils, explain);

      app.docRegistry.addWidgetExtension("Notebook", { createNew: (_, context) => preferLanguage(context) });

      const look = async () => {
        const state = await server.ask("state");
        notices.show(state);
        return state;
      };
      // The server may be gone, and JupyterLab says so itself.
      const quietly = (doing) => doing.catch((error) => console.warn(`${NAME}: ${error.message}`));

      app.commands.addCommand(ABOUT, {
        label: "About This Session",
        execute: async () => show("About this session", table(Widget, facts(await look()))),
      });
      app.commands.addCommand(UPDATE, {
        label: "Look for a Newer Version of the Project",
        execute: () => updates.look(true),
      });
      for (const command of [ABOUT, UPDATE]) palette?.addItem({ command, category: "Session" });
      menu?.helpMenu.addGroup([{ command: ABOUT }, { command: UPDATE }], 0);

      const item = new Widget({ node: document.createElement("button") });
      item.node.type = "button";
      item.node.className = "jp-Button jp-mod-minimal";
      item.node.style.cssText = "border: 0; background: none; color: inherit; font: inherit; cursor: pointer; padding: 0 4px";
      item.node.addEventListener("click", () => void app.commands.execute(ABOUT));

      void app.restored.then(async () => {
        const state = await look();
        const memory = state.limits.memory ? ` · ${bytes(state.limits.memory)}` : "";
        item.node.textContent = `${state.environment || "Session"}${memory}`;
        item.node.title = "About this session";
        status?.registerStatusItem(ABOUT, { item, align: "right", rank: 50 });
        app.serviceManager.events.stream.connect((_, event) => {
          if (event.schema_id === EVENT) void quietly(look());
        });
        tellOfActivity(server);
        // Often enough for the warning that a short time without work ends with, too, which comes in its last fifth.
        const seconds = Math.min(LOOK_SECONDS, (state.idleSeconds || Infinity) / 20);
        window.setInterval(() => document.hidden || void quietly(look()), seconds * 1000);
        document.addEventListener("visibilitychange", () => document.hidden || void quietly(look()));
        await updates.look(false);
      }).catch((error) => console.warn(`${NAME}: ${error.message}`));
    }

    return {
      id: `${NAME}:extension`,
      description: "Tells people about their session",
      autoStart: true,
      optional: [apputils.ICommandPalette, statusbar.IStatusBar, mainmenu.IMainMenu],
      activate,
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB ?? {};
  window._JUPYTERLAB[NAME] = {
    init(given) {
      scope = given;
    },
    async get() {
      const plugin = await extension();
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
