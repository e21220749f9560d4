// A build with one of everything, for the tests of reports.
#pragma once

#include "report/story.h"

namespace varve::report {

inline constexpr int64_t kExampleStart = 1'700'000'000'000'000'000;
inline constexpr int64_t kMilli = 1'000'000;

inline history::Step ExampleStep(uint32_t index, std::string name, std::string stage, history::Fate fate,
                                 std::vector<uint32_t> inputs, int64_t from, int64_t millis) {
  history::Step step{
      .index = index, .inputs = std::move(inputs), .name = std::move(name), .stage = std::move(stage), .fate = fate};
  if (from >= 0) {
    step.started = {kExampleStart + from * kMilli};
    step.wall = Nanos(millis * kMilli);
  }
  return step;
}

inline history::Build ExampleBuild() {
  using history::Fate;
  history::Build build{.id = "abcdefghijkl",
                       .command = "build",
                       .arguments = {"build", "-t", "shop/web", "."},
                       .project = "/src/web",
                       .name = "web",
                       .varve_version = "0.1.0"};
  build.started = {kExampleStart};
  build.ended = {kExampleStart + 9'400 * kMilli};
  build.status = history::BuildStatus::kCompleted;
  auto from = ExampleStep(0, "[build 1/4] FROM docker.io/library/node:20", "build", Fate::kRan, {}, 40, 2100);
  from.source = true;
  from.parts = {{"sha256:aa", {kExampleStart + 60 * kMilli}, Nanos(1900 * kMilli), 48'000'000},
                {"sha256:bb", {kExampleStart + 60 * kMilli}, Nanos(700 * kMilli), 3'000'000}};
  auto manifest =
      ExampleStep(1, "[build 2/4] COPY package.json package-lock.json ./", "build", Fate::kCached, {0}, 30, 4);
  manifest.saved = Nanos(20 * kMilli);
  auto install = ExampleStep(2, "[build 3/4] RUN npm ci | tee /log", "build", Fate::kCached, {1}, 2200, 1500);
  install.saved = Nanos(41'000 * kMilli);
  install.tier = "registry:example.com/shop/web:cache";
  install.parts = {{"sha256:cc", {kExampleStart + 2200 * kMilli}, Nanos(1500 * kMilli), 61'000'000}};
  auto copy = ExampleStep(3, "[build 4/4] RUN npm run build\n  --if-present", "build", Fate::kRan, {2}, 3700, 4900);
  copy.why = "src/app.ts: content changed";
  copy.reasons = Json().Append(Json().Set("kind", "file").Set("text", copy.why));
  copy.new_bytes = 1'400'000;
  auto base = ExampleStep(4, "[runtime 1/2] FROM docker.io/library/nginx:1", "runtime", Fate::kCached, {}, 40, 0);
  base.source = true;
  auto result =
      ExampleStep(5, "[runtime 2/2] COPY --from=build /app/dist /www", "runtime", Fate::kRan, {4, 3}, 8600, 60);
  result.why = "app/dist/app.js: content changed in stage build";
  result.reasons = Json().Append(Json().Set("kind", "unstable").Set("text", result.why));
  result.new_bytes = 900'000;
  auto test = ExampleStep(6, "[test 1/1] RUN npm test", "test", Fate::kSkipped, {3}, -1, 0);
  auto exporting = ExampleStep(7, "exporting to image", "", Fate::kRan, {}, 8700, 500);
  exporting.internal = true;
  build.steps = {from, manifest, install, copy, base, result, test, exporting};
  build.images = {{.name = "shop/web",
                   .platform = "linux/amd64",
                   .digest = "sha256:" + std::string(64, '1'),
                   .compression = "gzip",
                   .size = 46'200'000,
                   .layers = 4}};
  build.tiers = {{.name = "registry:example.com/shop/web:cache",
                  .read = true,
                  .written = true,
                  .hits = 2,
                  .layers = 1,
                  .bytes_read = 61'020'000,
                  .bytes_written = 2'300'000,
                  .requests = 9,
                  .time = Nanos(2600 * kMilli),
                  .saved = Nanos(41'000 * kMilli)},
                 {.name = "local:/mnt/cache",
                  .read = true,
                  .requests = 1,
                  .time = Nanos(20'000 * kMilli),
                  .read_error = "no answer within 20s"}};
  build.warnings = {
      {.text = "cache local:/mnt/cache is not used: no answer within 20s", .remedy = "is the disk mounted?"},
      {.text = "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)",
       .remedy = "The 'as' keyword should match the case of the 'from' keyword",
       .url = "https://docs.docker.com/go/dockerfile/rule/from-as-casing/",
       .file = "Dockerfile",
       .line = 1},
      {.text = "source files are copied before RUN npm ci",
       .remedy = "copy package*.json first",
       .file = "Dockerfile",
       .line = 3,
       .hint = true}};
  return build;
}

inline Story ExampleStory() {
  Story story{.build = ExampleBuild(), .previous = ExampleBuild(), .trend = {}, .failure_log = {}};
  story.previous->images[0].size = 45'000'000;
  story.previous->images[0].digest = "sha256:" + std::string(64, '0');
  story.previous->ended = {kExampleStart + 44'000 * kMilli};
  for (int i = 0; i < 6; ++i) {
    story.trend.push_back({.id = "past",
                           .status = history::BuildStatus::kCompleted,
                           .started = {kExampleStart - (6 - i) * 86'400'000 * kMilli},
                           .duration = Nanos((44'000 - 7'000 * i) * kMilli),
                           .ratios = {.steps = 4,
                                      .cached = std::min(i, 4),
                                      .ran = 4 - std::min(i, 4),
                                      .saved = Nanos(0),
                                      .spent = Nanos(0),
                                      .new_bytes = static_cast<uint64_t>(1'000'000 * (6 - i))},
                           .error = ""});
  }
  story.trend[1].status = history::BuildStatus::kFailed;
  return story;
}

}  // namespace varve::report
