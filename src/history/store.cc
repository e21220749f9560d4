#include "history/store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "cache/lease.h"
#include "sys/open.h"

namespace varve::history {

namespace {

constexpr std::string_view kJournal = ".running";
constexpr std::string_view kBuild = ".json";
constexpr std::string_view kLog = ".log";
constexpr size_t kIdSize = 12;
constexpr size_t kErrorShown = 200;
constexpr int64_t kTemporarySeconds = 60;

std::string Directory(const std::string& root) { return root + "/history"; }
std::string FileOf(const std::string& root, const std::string& id, std::string_view ending) {
  return fmt::format("{}/history/{}{}", root, id, ending);
}

// Lower-case base32 of random bits: 60 of them, so that ids of ten thousand builds do not meet and
// the first four characters mostly name one.
std::string NewId() {
  constexpr std::string_view kDigits = "abcdefghijklmnopqrstuvwxyz234567";
  unsigned char random[kIdSize] = {};
  if (getrandom(random, sizeof(random), 0) != static_cast<ssize_t>(sizeof(random))) {
    auto now = SystemClock().Now().nanos ^ getpid();
    for (unsigned char& byte : random) byte = static_cast<unsigned char>(now), now >>= 5;
  }
  std::string id;
  for (unsigned char byte : random) id += kDigits[byte % kDigits.size()];
  return id;
}

bool IsId(std::string_view text) {
  return text.size() == kIdSize &&
         std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7'); });
}

Status Append(int fd, const std::string& line) {
  ssize_t n = write(fd, line.data(), line.size());
  if (n == static_cast<ssize_t>(line.size())) return Ok();
  return ErrnoError(n < 0 ? errno : ENOSPC, "write to the build history");
}

Summary SummaryOf(const Build& build) {
  return {.id = build.id,
          .name = build.name,
          .project = build.project,
          .command = build.command,
          .target = build.target,
          .status = build.status,
          .started = build.started,
          .duration = build.Duration(),
          .ratios = RatiosOf(build),
          .error = build.error.substr(0, std::min(build.error.find('\n'), kErrorShown))};
}

// An index line: an array, since names would double its size.
std::string IndexLine(const Summary& s) {
  Json json;
  json.Append(s.id).Append(s.name).Append(s.project).Append(s.command).Append(s.target);
  json.Append(static_cast<int>(s.status)).Append(s.started.nanos).Append(s.duration.count());
  json.Append(s.ratios.steps).Append(s.ratios.cached).Append(s.ratios.ran);
  json.Append(s.ratios.saved.count()).Append(s.ratios.spent.count()).Append(s.ratios.new_bytes);
  return json.Append(s.error).Dump() + "\n";
}

std::optional<Summary> FromIndexLine(std::string_view line) {
  auto json = Json::Parse(line);
  if (!json || !json->is_array() || json->as_array().size() < 15) return std::nullopt;
  const Json::Array& items = json->as_array();
  for (size_t i : {0, 1, 2, 3, 4, 14})
    if (!items[i].is_string()) return std::nullopt;
  for (size_t i = 5; i < 14; ++i)
    if (!items[i].is_int()) return std::nullopt;
  auto number = [&](size_t i) { return items[i].as_int(); };
  if (number(5) < 0 || number(5) > static_cast<int>(BuildStatus::kKilled)) return std::nullopt;
  return Summary{.id = items[0].as_string(),
                 .name = items[1].as_string(),
                 .project = items[2].as_string(),
                 .command = items[3].as_string(),
                 .target = items[4].as_string(),
                 .status = static_cast<BuildStatus>(number(5)),
                 .started = {number(6)},
                 .duration = Nanos(number(7)),
                 .ratios = {.steps = static_cast<int>(number(8)),
                            .cached = static_cast<int>(number(9)),
                            .ran = static_cast<int>(number(10)),
                            .saved = Nanos(number(11)),
                            .spent = Nanos(number(12)),
                            .new_bytes = static_cast<uint64_t>(number(13))},
                 .error = items[14].as_string()};
}

Status AppendToIndex(const std::string& root, const Summary& summary) {
  TRY_ASSIGN(Fd file, OpenFile(Directory(root) + "/index", O_WRONLY | O_CREAT | O_APPEND, 0600));
  return Append(file.get(), IndexLine(summary));
}

// The file first: an index line without a build is nothing, a build without a line is found.
Status Publish(const std::string& root, const Build& build) {
  TRY(WriteFileAtomically(FileOf(root, build.id, kBuild), ToJson(build).Dump() + "\n", 0600));
  TRY(AppendToIndex(root, SummaryOf(build)));
  unlink(FileOf(root, build.id, kJournal).c_str());
  return Ok();
}

Result<Build> ReadBuild(const std::string& root, const std::string& id) {
  TRY_ASSIGN(std::string text, ReadFile(FileOf(root, id, kBuild)));
  auto json = Json::Parse(text);
  if (!json) return Corrupt("history: build {} is damaged: {}", id, json.error().message);
  return BuildFromJson(*json);
}

// A last line that is not whole was being written when the process was killed.
Result<Build> ReadJournal(const std::string& root, const std::string& id) {
  TRY_ASSIGN(std::string text, ReadFile(FileOf(root, id, kJournal)));
  std::optional<Build> build;
  std::map<uint32_t, Step> steps;
  for (const std::string& line : Split(text, '\n')) {
    auto json = Json::Parse(line);
    if (!json) continue;
    if (!build) {
      TRY_ASSIGN(build, BuildFromJson(*json));
      continue;
    }
    if (auto step = StepFromJson(*json)) steps.insert_or_assign(step->index, std::move(*step));
  }
  if (!build) return Corrupt("history: the journal of build {} is empty", id);
  for (auto& [index, step] : steps) build->steps.push_back(std::move(step));
  return std::move(*build);
}

// Nobody says any more how the build ended: with the last thing that it noted.
void EndAsKilled(Build& build, const struct stat& journal) {
  build.status = BuildStatus::kKilled;
  build.error = "its process was killed";
  build.ended = {journal.st_mtim.tv_sec * 1'000'000'000 + journal.st_mtim.tv_nsec};
  build.ended = std::max(build.ended, build.started);
  for (Step& step : build.steps) {
    if (step.fate == Fate::kRunning) step.wall = Nanos(build.ended.nanos - step.started.nanos);
  }
}

// A build that runs, or was killed and could not be written down as that: the disk may be full.
Result<Build> ReadUnfinished(const std::string& root, const std::string& id) {
  struct stat st {};
  const std::string journal = FileOf(root, id, kJournal);
  if (stat(journal.c_str(), &st) != 0) return ErrnoError(errno, "open " + journal);
  TRY_ASSIGN(Build build, ReadJournal(root, id));
  if (cache::JobLives(root, build.job)) return build;
  // It may have ended, in order, since its journal was read.
  if (auto ended = ReadBuild(root, id)) return ended;
  EndAsKilled(build, st);
  return build;
}

struct Names {
  std::set<std::string> ended, running;
  std::vector<std::string> temporary;  // what WriteFileAtomically leaves when it is killed
};

// Of "NAME.tmp-PID-N".
bool WriterLives(const std::string& name) {
  std::string rest = name.substr(name.find(".tmp-") + 5);
  auto pid = ParseInt(rest.substr(0, rest.find('-')));
  return pid && *pid > 0 && *pid <= INT32_MAX && (kill(static_cast<pid_t>(*pid), 0) == 0 || errno != ESRCH);
}

Result<Names> ListNames(const std::string& root) {
  Names names;
  auto directory = sys::OpenDir(Directory(root));
  if (!directory && directory.error().code == Code::kNotFound) return names;
  if (!directory) return Error(std::move(directory).error());
  TRY_ASSIGN(auto entries, sys::ListDirectory(directory->get()));
  for (const sys::DirEntry& entry : entries) {
    std::string id = entry.name.substr(0, entry.name.find('.'));
    std::string_view ending = std::string_view(entry.name).substr(id.size());
    if (ending.find(".tmp-") != ending.npos) names.temporary.push_back(entry.name);
    if (!IsId(id)) continue;
    if (ending == kBuild) names.ended.insert(id);
    if (ending == kJournal) names.running.insert(id);
  }
  return names;
}

}  // namespace

// --- Writing ---------------------------------------------------------------------------------------

Result<std::unique_ptr<Recorder>> Recorder::Begin(const std::string& root, Build header, Clock& clock) {
  header.id = NewId();
  header.status = BuildStatus::kRunning;
  if (header.started.nanos == 0) header.started = clock.Now();
  std::unique_ptr<Recorder> recorder(new Recorder(root, std::move(header), clock));
  std::string path = FileOf(root, recorder->id(), kJournal);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_APPEND;
  auto journal = OpenFile(path, kFlags, 0600);
  if (!journal && journal.error().code == Code::kNotFound) {
    TRY(sys::MkdirAll(Directory(root), 0700));
    journal = OpenFile(path, kFlags, 0600);
  }
  if (!journal) return Error(std::move(journal).error());
  TRY(Append(journal->get(), ToJson(recorder->header_).Dump() + "\n"));
  recorder->files_.Lock()->journal = std::move(*journal);
  return recorder;
}

void Recorder::Lose(const Error& error) { LOG_WARN("history is incomplete: {}", error.message); }

void Recorder::Note(const Step& step) {
  std::string line = ToJson(step).Dump() + "\n";
  auto files = files_.Lock();
  if (!files->journal || files->lossy) return;
  if (Status noted = Append(files->journal.get(), line); !noted) {
    files->lossy = true;
    Lose(noted.error());
  }
}

void Recorder::Log(uint32_t step, int stream, std::string_view text) {
  auto files = files_.Lock();
  if (files->lossy) return;
  if (files->logged.size() <= step) files->logged.resize(step + 1);
  uint64_t& logged = files->logged[step];
  if (logged >= kMaxStepLog) return;
  std::string cut;
  logged += text.size();
  if (logged >= kMaxStepLog) {
    cut = text.substr(0, text.size() - static_cast<size_t>(logged - kMaxStepLog));
    cut += fmt::format("\n[the rest is not kept: it is more than {}]\n", FormatBytes(kMaxStepLog));
    text = cut;
  }
  std::string entry = fmt::format("{} {} {} {}\n", step, clock_.Now().nanos, stream, text.size());
  entry.append(text) += '\n';
  if (!files->log) {
    auto opened = OpenFile(FileOf(root_, id(), kLog), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (opened) files->log = std::move(*opened);
  }
  Status written = files->log ? Append(files->log.get(), entry) : Status(Internal("the log cannot be opened"));
  if (!written) {
    files->lossy = true;
    Lose(written.error());
  }
}

bool Recorder::HasLog(uint32_t step) {
  auto files = files_.Lock();
  return step < files->logged.size() && files->logged[step] > 0;
}

Status Recorder::Finish(Build build) {
  build.id = id();
  build.started = header_.started;
  if (build.ended.nanos == 0) build.ended = clock_.Now();
  TRY(Publish(root_, build));
  files_.Lock()->journal.Reset();
  return Ok();
}

// --- Reading ---------------------------------------------------------------------------------------

// The status of a build whose process is gone is written down once, with the time of the last thing
// that it noted.
Status History::AdoptKilled() {
  TRY_ASSIGN(Names names, ListNames(root_));
  for (const std::string& id : names.running) {
    std::string journal = FileOf(root_, id, kJournal);
    if (names.ended.contains(id)) {
      unlink(journal.c_str());
      continue;
    }
    struct stat st;
    if (stat(journal.c_str(), &st) != 0) continue;
    auto build = ReadJournal(root_, id);
    if (build && cache::JobLives(root_, build->job)) continue;
    // It may have ended, in order, between the listing and now.
    if (access(FileOf(root_, id, kBuild).c_str(), F_OK) == 0) continue;
    if (!build) {
      // Killed while it wrote the first line, or about to write it.
      if (clock_.Now().seconds() - st.st_mtim.tv_sec > 60) unlink(journal.c_str());
      continue;
    }
    EndAsKilled(*build, st);
    if (Status published = Publish(root_, *build); !published) LOG_WARN("{}", published.error().message);
  }
  for (const std::string& name : names.temporary) {
    std::string path = Directory(root_) + "/" + name;
    struct stat st;
    // Written in no time; a process of another PID namespace is given some.
    bool old = stat(path.c_str(), &st) == 0 && clock_.Now().seconds() - st.st_mtim.tv_sec > kTemporarySeconds;
    if (old || !WriterLives(name)) unlink(path.c_str());
  }
  return Ok();
}

// Builds that ended, in no order.
Result<std::vector<Summary>> History::Ended() {
  TRY_ASSIGN(Names names, ListNames(root_));
  std::map<std::string, Summary> found;
  auto index = ReadFile(Directory(root_) + "/index");
  if (!index && index.error().code != Code::kNotFound) return Error(std::move(index).error());
  std::string_view rest = index ? std::string_view(*index) : std::string_view();
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\n'), rest.size());
    auto summary = FromIndexLine(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (summary && names.ended.contains(summary->id)) found.insert_or_assign(summary->id, *summary);
  }
  for (const std::string& id : names.ended) {
    if (found.contains(id)) continue;
    auto build = ReadBuild(root_, id);
    if (!build) {
      LOG_WARN("{}", build.error().message);
      continue;
    }
    Summary summary = SummaryOf(*build);
    if (Status added = AppendToIndex(root_, summary); !added) LOG_WARN("{}", added.error().message);
    found.emplace(id, std::move(summary));
  }
  std::vector<Summary> out;
  for (auto& [id, summary] : found) out.push_back(std::move(summary));
  return out;
}

Result<std::vector<Summary>> History::List() {
  TRY(AdoptKilled());
  TRY_ASSIGN(std::vector<Summary> out, Ended());
  TRY_ASSIGN(Names names, ListNames(root_));
  for (const std::string& id : names.running) {
    auto build = names.ended.contains(id) ? Result<Build>(NotFound("it ended")) : ReadUnfinished(root_, id);
    if (!build) continue;
    Summary summary = SummaryOf(*build);
    if (build->status == BuildStatus::kRunning) summary.duration = Nanos(clock_.Now().nanos - build->started.nanos);
    out.push_back(std::move(summary));
  }
  std::ranges::sort(
      out, [](const Summary& a, const Summary& b) { return std::pair(b.started, b.id) < std::pair(a.started, a.id); });
  return out;
}

Result<Build> History::Read(const std::string& id) {
  if (!IsId(id)) return NotFound("no build has the id \"{}\"", id);
  TRY(AdoptKilled());
  auto build = ReadBuild(root_, id);
  if (!build && build.error().code == Code::kNotFound) build = ReadUnfinished(root_, id);
  // It may have ended between the two looks.
  if (!build && build.error().code == Code::kNotFound) build = ReadBuild(root_, id);
  if (!build && build.error().code == Code::kNotFound) {
    return NotFound("no build has the id \"{}\"", id);
  }
  return build;
}

Result<std::string> History::Find(const std::string& ref) {
  auto with_hint = [](Error error) {
    error.hint = "varve history ls lists them";
    return error;
  };
  // A whole id needs no list.
  if (IsId(ref)) {
    auto build = Read(ref);
    if (build) return ref;
    return with_hint(std::move(build).error());
  }
  TRY_ASSIGN(std::vector<Summary> builds, List());
  if (ref.empty() || ref.starts_with('^')) {
    auto back = ref.empty() ? std::optional<int64_t>(0) : ParseInt(ref.substr(1));
    if (!back || *back < 0) return Invalid("\"{}\" is no build: ^1 is the one before the newest", ref);
    if (builds.empty()) return NotFound("there is no build in the history");
    if (static_cast<uint64_t>(*back) >= builds.size()) {
      return with_hint(NotFound("the history has {} builds, and {} is before them", builds.size(), ref));
    }
    return builds[static_cast<size_t>(*back)].id;
  }
  std::vector<std::string> found;
  for (const Summary& build : builds) {
    if (build.id.starts_with(ref)) found.push_back(build.id);
  }
  if (found.size() == 1) return found[0];
  if (found.empty()) return with_hint(NotFound("no build has the id \"{}\"", ref));
  return with_hint(Invalid("{} builds have ids that begin with \"{}\"", found.size(), ref));
}

Result<std::vector<LogLine>> History::Log(const std::string& id) {
  std::vector<LogLine> lines;
  auto text = ReadFile(FileOf(root_, id, kLog), uint64_t{4} << 30);
  if (!text && text.error().code == Code::kNotFound) return lines;
  if (!text) return Error(std::move(text).error());
  for (std::string_view rest = *text; !rest.empty();) {
    size_t end = rest.find('\n');
    std::vector<std::string> head = Split(rest.substr(0, end), ' ');
    std::optional<int64_t> numbers[4];
    for (size_t i = 0; i < std::min(head.size(), std::size(numbers)); ++i) {
      numbers[i] = ParseInt(head[i]);
    }
    bool whole = end != rest.npos && head.size() == 4 &&
                 std::ranges::all_of(numbers, [](auto n) { return n && *n >= 0; }) &&
                 static_cast<uint64_t>(*numbers[3]) < rest.size() - end;
    if (!whole) break;  // being written, or cut short by a kill
    auto size = static_cast<size_t>(*numbers[3]);
    lines.push_back({.step = static_cast<uint32_t>(*numbers[0]),
                     .time = {*numbers[1]},
                     .stream = static_cast<int>(*numbers[2]),
                     .text = std::string(rest.substr(end + 1, size))});
    rest.remove_prefix(std::min(rest.size(), end + 1 + size + 1));
  }
  return lines;
}

Status History::Remove(const std::vector<std::string>& ids) {
  TRY(AdoptKilled());
  for (const std::string& id : ids) {
    if (!IsId(id)) return Invalid("\"{}\" is no id of a build", id);
    bool ended = access(FileOf(root_, id, kBuild).c_str(), F_OK) == 0;
    if (!ended && access(FileOf(root_, id, kJournal).c_str(), F_OK) == 0) {
      Error error = Invalid("build {} is still running", id);
      error.hint = "wait for its end, or stop it";
      return error;
    }
    // The log last: without the build nobody finds it, and without the log a build is still right.
    for (std::string_view ending : {kBuild, kLog}) {
      std::string path = FileOf(root_, id, ending);
      if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "remove " + path);
    }
  }
  // Lines of what is gone go with it. A build that ends right now may lose its line: it gets a new
  // one with the next list.
  TRY_ASSIGN(std::vector<Summary> left, Ended());
  std::string index;
  for (const Summary& summary : left) index += IndexLine(summary);
  return WriteFileAtomically(Directory(root_) + "/index", index, 0600);
}

Result<size_t> History::Prune(const Limits& limits) {
  TRY_ASSIGN(std::vector<Summary> builds, List());
  uint64_t bytes = 0;
  int64_t oldest = clock_.Now().nanos - limits.age.count();
  std::vector<std::string> gone;
  size_t kept = 0;
  for (const Summary& build : builds) {
    if (build.status == BuildStatus::kRunning) continue;
    for (std::string_view ending : {kBuild, kLog}) {
      struct stat st;
      if (stat(FileOf(root_, build.id, ending).c_str(), &st) == 0) {
        bytes += static_cast<uint64_t>(st.st_blocks) * 512;
      }
    }
    bool keep = kept < limits.builds && build.started.nanos >= oldest && bytes <= limits.bytes;
    if (keep) ++kept;
    else gone.push_back(build.id);
  }
  if (!gone.empty()) TRY(Remove(gone));
  return gone.size();
}

}  // namespace varve::history
