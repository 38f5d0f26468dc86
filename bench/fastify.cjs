// The same checks by fastify and better-sqlite3: digest, look-up, status, allowlist, tenant, tier, role.
const { createHash, timingSafeEqual } = require('node:crypto')
const { readFileSync } = require('node:fs')
const [port, folder, database] = process.argv.slice(2)
const db = new (require('better-sqlite3'))(database, { readonly: true })
const find = db.prepare(`SELECT k.status, k.allowlist, k.expires_at, s.digest, s.status AS secret_status, t.status AS tenant_status,
  t.tier, u.role, u.status AS user_status
  FROM keys k JOIN secrets s ON s.key_id = k.id JOIN tenants t ON t.id = k.tenant_id JOIN users u ON u.id = k.administrator_id
  WHERE k.id = ?`)
const answer = JSON.parse(readFileSync(`${folder}/answer.json`, 'utf8'))
const app = require('fastify')({
  https: { key: readFileSync(`${folder}/k.pem`), cert: readFileSync(`${folder}/c.pem`), minVersion: 'TLSv1.3' },
})
app.addHook('onRequest', async (request, reply) => {
  const match = /^Bearer +(iusk_(?:dev|stg|prod)_([0-9a-hjkmnp-tv-z]{26})_[0-9A-Za-z]{49})$/i.exec(request.headers.authorization ?? '')
  const row = match && find.get(`key_${match[2]}`)
  const digest = match && createHash('sha256').update(match[1]).digest()
  if (!row || !timingSafeEqual(row.digest, digest) || row.status !== 'active' || row.secret_status !== 'current') return reply.code(401).send()
  const list = JSON.parse(row.allowlist)
  if (list.length > 0 && !list.includes(request.ip)) return reply.code(403).send()
  if (row.expires_at !== null && row.expires_at <= Date.now()) return reply.code(401).send()
  if (row.tenant_status !== 'active' || row.tier === 'free') return reply.code(403).send()
  if (row.user_status !== 'active' || !['owner', 'admin'].includes(row.role)) return reply.code(403).send()
})
app.get('/v1/me', async () => answer)
app.listen({ port: Number(port), host: '127.0.0.1' })
