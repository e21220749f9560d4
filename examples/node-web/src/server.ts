import path from "node:path";

import { makeApp } from "./app";

const port = Number(process.env.PORT ?? 3000);
const server = makeApp(path.join(__dirname, "..")).listen(port, () => {
  console.log(`listening on port ${port}`);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => server.close(() => process.exit(0)));
}
