// A session with heroku-client, as its README has it: each step prints a line of JSON.
'use strict'

const Heroku = require('heroku-client')
const heroku = new Heroku({host: process.env.HEROKU_HOST, token: process.env.HEROKU_API_KEY})
const [, , app, step] = process.argv

async function formation(quantity) {
  const {quantity: is} = await heroku.patch(`/apps/${app}/formation/worker`, {body: {quantity}})
  return is
}

const steps = {
  async create() {
    const account = await heroku.get('/account')
    const made = await heroku.post('/apps', {body: {name: app}})
    const apps = await heroku.get('/apps')
    return {owner: made.owner.email === account.email, isListed: apps.some(each => each.id === made.id)}
  },
  async change() {
    await heroku.patch(`/apps/${app}/config-vars`, {body: {GREETING: 'Hi', GONE: 'x'}})
    const config = await heroku.patch(`/apps/${app}/config-vars`, {body: {GONE: null}})
    return {config, up: await formation(2), down: await formation(0)}
  },
  async release() {
    const releases = await heroku.get(`/apps/${app}/releases`) // by id, as this client asks for all lists
    releases.sort((one, other) => one.version - other.version)
    const [first] = releases.filter(each => each.slug && each.status === 'succeeded')
    const made = await heroku.post(`/apps/${app}/releases`, {body: {slug: first.slug.id, description: 'The first again'}})
    const back = await heroku.post(`/apps/${app}/releases`, {body: {release: first.id}})
    const paged = await heroku.get(`/apps/${app}/releases`, {headers: {Range: 'version ..; max=2'}})
    return {
      versions: releases.map(each => each.version),
      made: {version: made.version, description: made.description},
      back: {version: back.version, description: back.description},
      paged: paged.map(each => each.version),
    }
  },
  async end() {
    await heroku.delete(`/apps/${app}`)
    return heroku.get(`/apps/${app}`).then(() => 'still there', error => ({status: error.statusCode, body: error.body}))
  },
}

steps[step]().then(
  answer => console.log(JSON.stringify(answer)),
  error => {
    console.error(error.statusCode, error.body || error)
    process.exitCode = 1
  },
)
