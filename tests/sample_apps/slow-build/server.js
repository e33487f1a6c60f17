"use strict";

const VERSION = "1";

const server = require("node:http").createServer((request, response) => {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ version: VERSION, release: process.env.PAAS_RELEASE || "" }));
});
server.keepAliveTimeout = 65000;
server.listen(process.env.PORT);
process.on("SIGTERM", () => server.close(() => process.exit(0)));
