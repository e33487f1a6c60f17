// Pages work without any of this. With it they copy, keep their times true, follow logs, and stay as they are when
// nothing has happened.
import { setUpCopy } from "./copy.js";
import { setUpLogs } from "./log.js";
import { setUpPalette } from "./palette.js";
import { setUpPolling } from "./polling.js";
import { setUpTimes } from "./times.js";

document.documentElement.classList.add("js");
setUpCopy();
setUpLogs();
setUpPalette();
setUpPolling();
setUpTimes();
