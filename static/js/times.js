// Keeps <time data-relative> true. The words are those of the filter `ago`.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];

export function relative(moment, now = Date.now()) {
  const seconds = Math.trunc((now - moment) / 1000);
  const distance = Math.abs(seconds);
  if (distance < 10) return "just now";
  const [size, unit] = UNITS.find(([size]) => distance >= size) ?? [1, "s"];
  const text = `${Math.floor(distance / size)} ${unit}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

export function setUpTimes() {
  const update = () => {
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const text = relative(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(update, 5000);
  document.addEventListener("visibilitychange", update);
}
