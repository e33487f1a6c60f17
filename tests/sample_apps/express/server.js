"use strict";

const express = require("express");

const VERSION = "1";

const app = express();
app.get("/", (request, response) => {
  response.json({
    version: VERSION,
    greeting: process.env.GREETING || "Hello",
    release: process.env.PAAS_RELEASE || "",
  });
});

const server = app.listen(process.env.PORT, () => console.log(`listening on ${process.env.PORT}`));
// Longer than the router keeps its connections, so that it is never us who close one that is about to be used.
server.keepAliveTimeout = 65000;
process.on("SIGTERM", () => server.close(() => process.exit(0)));
