// Pages work without any of this. With it they copy, keep their times true, follow logs and show what happens.
import { setUpCopy } from "./copy.js";
import { setUpLive } from "./live.js";
import { setUpLogs } from "./log.js";
import { setUpPalette } from "./palette.js";
import { setUpTail } from "./tail.js";
import { setUpTimes } from "./times.js";

document.documentElement.classList.add("js");
setUpLive(); // before the times move: it remembers what the server sent
setUpCopy();
setUpLogs();
setUpPalette();
setUpTail();
setUpTimes();

// On a phone the tabs of an app scroll sideways: show where one is.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
