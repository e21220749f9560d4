const assert = require("node:assert");
const path = require("node:path");
const { test } = require("node:test");

process.env.LOG_LEVEL = "silent";
const { makeApp } = require("../dist/app.js");

async function get(url) {
  const server = makeApp(path.join(__dirname, "..")).listen(0);
  try {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}${url}`);
    return { status: answer.status, text: await answer.text() };
  } finally {
    server.close();
  }
}

test("the front page lists the notes, the newest first", async () => {
  const { status, text } = await get("/");
  assert.equal(status, 200);
  assert.ok(text.indexOf("First thaw") < text.indexOf("What a varve is"));
});

test("a note is rendered from Markdown", async () => {
  assert.match((await get("/notes/varves")).text, /<strong>varve<\/strong>/);
});

test("an unknown page is a 404", async () => {
  assert.equal((await get("/notes/none")).status, 404);
});

test("the list can be filtered by tag", async () => {
  assert.equal(JSON.parse((await get("/api/notes?tag=weather")).text).length, 1);
});
