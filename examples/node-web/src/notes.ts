import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { format } from "date-fns";
import matter from "gray-matter";
import { marked } from "marked";
import { z } from "zod";

const FrontMatter = z.object({
  title: z.string().min(1),
  date: z.coerce.date(),
  tags: z.array(z.string()).default([]),
});

export interface Note {
  slug: string;
  title: string;
  date: Date;
  day: string;
  tags: string[];
  html: string;
}

function readNote(folder: string, file: string): Note {
  const { data, content } = matter(readFileSync(path.join(folder, file), "utf8"));
  const head = FrontMatter.parse(data);
  return {
    slug: path.basename(file, ".md"),
    title: head.title,
    date: head.date,
    day: format(head.date, "d MMMM yyyy"),
    tags: head.tags,
    html: marked.parse(content, { async: false }) as string,
  };
}

/** All notes of a folder, the newest first. A note with a broken head stops the start. */
export function readNotes(folder: string): Note[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".md"))
    .map((file) => readNote(folder, file))
    .sort((a, b) => b.date.getTime() - a.date.getTime());
}
