// Where a TCP connection goes: the file of the public port says so, and is asked once for each connection. So a change
// is one file, and nothing is reloaded.
import fs from 'fs';

function choose(session) {
  let to = [];
  try {
    to = JSON.parse(fs.readFileSync(`${session.variables.paas_ports}/tcp-${session.variables.server_port}.json`, 'utf8')).to;
  } catch (e) {
    to = [];  // nobody has this port
  }
  if (!Array.isArray(to) || to.length === 0) {
    session.deny();
    return;
  }
  session.variables.paas_to = to[Math.floor(Math.random() * to.length)];
  session.allow();
}

export default { choose };
