"use strict";

// Says something every half second for BUILD_SECONDS, so that a test has time to watch, to leave or to interfere.
const until = Date.now() + 1000 * Number(process.env.BUILD_SECONDS || 4);
let tick = 0;
const timer = setInterval(() => {
  tick += 1;
  console.log(`building, tick ${tick}`);
  if (Date.now() >= until) clearInterval(timer);
}, 500);
