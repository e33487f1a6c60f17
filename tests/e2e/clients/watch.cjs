// Loaded into every Node process of a client under test (NODE_OPTIONS=--require): writes down each host that it wants to
// reach, answers those of the test, and knows no other. So a token can't leave the machine, and nothing of the machine
// (its resolver, its hosts file, port 443) has to be changed.
//
//   WATCH_LOG    a file; one line of JSON for each try: {"host", "port", "known"}
//   WATCH_HOSTS  JSON: {"localhost": {}, "api.localhost.example": {"443": 8443}}; a name, and ports that are elsewhere
'use strict'

const dns = require('node:dns')
const fs = require('node:fs')
const module_ = require('node:module')
const net = require('node:net')

const hosts = JSON.parse(process.env.WATCH_HOSTS)
const loopback = new Set(['127.0.0.1', '::1'])

function look(host, port) {
  const known = Object.hasOwn(hosts, host) || loopback.has(host)
  fs.appendFileSync(process.env.WATCH_LOG, JSON.stringify({host, port, known}) + '\n')
  return known
}

function unknown(host) {
  return Object.assign(new Error(`getaddrinfo ENOTFOUND ${host}`), {code: 'ENOTFOUND', errno: -3008, syscall: 'getaddrinfo', hostname: host})
}

const connect = net.Socket.prototype.connect
net.Socket.prototype.connect = function (...args) {
  const isNormalized = Array.isArray(args[0])
  const first = isNormalized ? args[0][0] : args[0]
  const isTarget = typeof first === 'object' && first !== null
  const target = isTarget ? first : {port: first, host: typeof args[1] === 'string' ? args[1] : 'localhost'}
  if (target.path || (!isTarget && typeof first === 'string' && Number.isNaN(Number(first)))) return connect.apply(this, args) // a Unix socket
  const host = String(target.host || 'localhost').toLowerCase()
  if (!look(host, Number(target.port))) {
    process.nextTick(() => this.destroy(unknown(host)))
    return this
  }
  if (!Object.hasOwn(hosts, host) || host === 'localhost') return connect.apply(this, args)
  const elsewhere = {...target, host: '127.0.0.1', port: hosts[host][target.port] ?? target.port, lookup: undefined}
  if (isNormalized) args[0][0] = elsewhere
  else if (isTarget) args[0] = elsewhere
  else args.splice(0, typeof args[1] === 'string' ? 2 : 1, elsewhere)
  return connect.apply(this, args)
}

// Whoever resolves a name by itself before it connects.
const lookup = dns.lookup
dns.lookup = function (host, ...rest) {
  const done = rest.at(-1)
  if (host && !look(String(host).toLowerCase(), null)) return void process.nextTick(done, unknown(host))
  return lookup.call(this, host === 'localhost' || loopback.has(host) ? host : '127.0.0.1', ...rest)
}
dns.promises.lookup = async function (host, options) {
  return new Promise((resolve, reject) => {
    dns.lookup(host, options ?? {}, (error, address, family) =>
      error ? reject(error) : resolve(Array.isArray(address) ? address : {address, family}))
  })
}
for (const owner of [dns, dns.promises, dns.Resolver.prototype, dns.promises.Resolver.prototype]) {
  for (const name of Object.getOwnPropertyNames(owner).filter(name => /^(resolve|reverse)/.test(name))) {
    owner[name] = function (host, ...rest) {
      look(String(host).toLowerCase(), null)
      const done = rest.at(-1)
      if (typeof done !== 'function') return Promise.reject(unknown(host))
      process.nextTick(done, unknown(host))
    }
  }
}
module_.syncBuiltinESMExports()
