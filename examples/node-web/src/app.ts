import path from "node:path";

import compression from "compression";
import express, { Express } from "express";
import helmet from "helmet";
import pinoHttp from "pino-http";

import { Note, readNotes } from "./notes";

export const SITE_TITLE = "Fieldnotes";

function byTag(notes: Note[], tag: unknown): Note[] {
  return typeof tag === "string" && tag !== "" ? notes.filter((n) => n.tags.includes(tag)) : notes;
}

export function makeApp(top: string): Express {
  const notes = readNotes(path.join(top, "content"));
  const app = express();
  app.set("view engine", "ejs");
  app.set("views", path.join(top, "views"));
  app.disable("x-powered-by");
  app.use(pinoHttp({ level: process.env.LOG_LEVEL ?? "info" }));
  app.use(helmet());
  app.use(compression());
  app.use("/static", express.static(path.join(top, "public"), { maxAge: "1h" }));

  app.get("/healthz", (_request, response) => {
    response.json({ status: "ok", notes: notes.length });
  });
  app.get("/api/notes", (request, response) => {
    response.json(byTag(notes, request.query.tag).map(({ slug, title, date, tags }) => ({ slug, title, date, tags })));
  });
  app.get("/", (request, response) => {
    response.render("index", { site: SITE_TITLE, notes: byTag(notes, request.query.tag) });
  });
  app.get("/notes/:slug", (request, response, next) => {
    const note = notes.find((candidate) => candidate.slug === request.params.slug);
    return note ? response.render("note", { site: SITE_TITLE, note }) : next();
  });
  app.use((_request, response) => {
    response.status(404).render("missing", { site: SITE_TITLE });
  });
  return app;
}
