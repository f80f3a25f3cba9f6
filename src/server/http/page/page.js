// Keeps the page current: loads it again soon after an event of the server, or every 5 s, and
// replaces the parts that are marked as live. Without this script a reload does the same.
"use strict";
(() => {
  // What is being filled in stays.
  if (document.querySelector("main form[method=post]") !== null) return;
  const POLL = 5000;
  const SLOW = 30000;
  const SOON = 500;
  const FOLLOW_AGAIN = 60000;
  const offline = document.getElementById("offline");
  // Without a user and a password, with which a browser refuses to fetch.
  const here = location.origin + location.pathname + location.search;
  let timer = 0;
  // The wait of the timer that runs.
  let pending = Infinity;
  let busy = false;
  let again = false;
  let events = null;

  const isLive = () => events !== null && events.readyState === EventSource.OPEN;

  // What comes sooner stays: else events in quick succession put the next load off for ever.
  const plan = (wait) => {
    if (wait >= pending) return;
    clearTimeout(timer);
    pending = wait;
    timer = setTimeout(load, wait);
  };

  // A part that holds the focus or a selection is left alone, unless its content has changed.
  const replace = (fresh) => {
    for (const part of fresh.querySelectorAll("[data-live][id]")) {
      const shown = document.getElementById(part.id);
      if (shown === null || shown.innerHTML === part.innerHTML) continue;
      const opened = [...shown.querySelectorAll("details")].map((one) => one.open);
      const focused = shown.contains(document.activeElement) && document.activeElement.getAttribute("href");
      // A wide table stays where it was scrolled to, and keeps the focus.
      const wide = [...shown.querySelectorAll(".table")].map((one) =>
        ({ left: one.scrollLeft, focused: one === document.activeElement }));
      shown.replaceChildren(...part.childNodes);
      shown.querySelectorAll(".table").forEach((one, number) => {
        if (wide[number] === undefined) return;
        one.scrollLeft = wide[number].left;
        if (wide[number].focused) one.focus({ preventScroll: true });
      });
      shown.querySelectorAll("details").forEach((one, number) => { one.open = opened[number] === true; });
      if (focused) {
        const same = [...shown.querySelectorAll("a[href]")].find((a) => a.getAttribute("href") === focused);
        if (same) same.focus({ preventScroll: true });
      }
    }
    // Parts may come and go, such as a class.
    const ids = (root) => [...root.querySelectorAll("[data-live][id]")].map((one) => one.id).join();
    if (ids(fresh) !== ids(document)) {
      document.getElementById("main").replaceChildren(...fresh.getElementById("main").childNodes);
    }
  };

  async function load() {
    pending = Infinity;
    if (busy) { again = true; return; }
    if (document.hidden) { plan(POLL); return; }
    busy = true;
    try {
      const answer = await fetch(here, { headers: { accept: "text/html" }, cache: "no-store" });
      if (answer.status === 401) {
        // The session has ended: the page for signing in follows.
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
      offline.hidden = true;
    } catch {
      offline.hidden = false;
    }
    busy = false;
    plan(again ? SOON : isLive() ? SLOW : POLL);
    again = false;
  }

  // While a server has no events, or no place for one more to follow them, the page is only polled.
  const listen = () => {
    if (!("EventSource" in window)) return;
    const source = new EventSource(location.origin + "/v1/events");
    events = source;
    const soon = () => plan(SOON);
    for (const kind of ["message", "event", "reset", "dropped"]) {
      source.addEventListener(kind, soon);
    }
    source.addEventListener("error", () => {
      plan(POLL);
      // It connects again by itself, unless the answer was an error.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, FOLLOW_AGAIN);
    });
  };

  document.addEventListener("visibilitychange", () => { if (!document.hidden) plan(0); });
  listen();
  plan(POLL);
})();
