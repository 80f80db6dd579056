// Counts what is ticked. Shows times in the reader's zone. Without it they are shown in UTC, with their distance from now.
"use strict";
(() => {
  const near = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false, timeZoneName: "short" };
  const forms = [near, { ...near, year: "numeric" }].map((form) => new Intl.DateTimeFormat("en-GB", form));
  const show = (root) => {
    for (const time of root.querySelectorAll("time.at[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      time.title = time.title || time.textContent;
      time.textContent = forms[time.classList.contains("near") ? 0 : 1].format(at);
      time.classList.remove("at");
    }
  };
  const ticks = document.querySelectorAll("input[type=checkbox][name=call]");
  const said = document.querySelector("[data-ticked]");
  const count = () => {
    const ticked = [...ticks].filter((one) => one.checked).length;
    said.textContent = `${ticked} of ${ticks.length} are ticked.`;
  };
  if (said) for (const one of ticks) one.addEventListener("change", count);
  show(document);
  document.addEventListener("htmx:afterSwap", (event) => show(event.target));
})();
