// RUN, ADD and COPY: the instructions with here-documents and most of the flags.
#include <algorithm>
#include <array>

#include "dockerfile/flags.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/hinted.h"
#include "dockerfile/run_mount.h"
#include "dockerfile/runes.h"
#include "dockerfile/suggest.h"
#include "dockerfile/typed.h"

namespace varve::dockerfile {
namespace {

Status CheckOperands(const RawInstruction& raw, std::string_view name) {
  if (raw.args.size() >= 2) return Ok();
  return Hinted(Invalid("{} requires at least two arguments, but only one was provided. Destination "
                        "could not be determined",
                        name),
                fmt::format("write {} SOURCE… DESTINATION", name));
}

Result<CopySources> TypeSources(const RawInstruction& raw, std::string_view name, const Flags& flags) {
  CopySources out{.destination = raw.args.back(),
                  .chown = flags.Value("chown"),
                  .chmod = flags.Value("chmod"),
                  .link = flags.IsTrue("link"),
                  .exclude = flags.Values("exclude")};
  if (!raw.json && IsHeredocHead(out.destination)) {
    return Hinted(Invalid("{} cannot accept a heredoc as a destination", name),
                  fmt::format("the destination comes last: {} <<EOF /path", name));
  }
  for (size_t i = 0; i + 1 < raw.args.size(); ++i) {
    const std::string& word = raw.args[i];
    auto head = ParseHeredocHead(word);
    if (raw.json || !head || !*head) {
      out.paths.push_back(word);
      continue;
    }
    InlineFile file{(*head)->name, "", (*head)->expand};
    // The last document of that name, should there be several.
    auto found = std::find_if(raw.origin.heredocs.rbegin(), raw.origin.heredocs.rend(),
                              [&](const Heredoc& doc) { return doc.name == file.name; });
    if (found != raw.origin.heredocs.rend()) {
      Heredoc document = *found;
      document.strip_tabs = (*head)->strip_tabs;
      file.content = document.Body();
    }
    out.files.push_back(std::move(file));
  }
  return out;
}

void AddCommonFlags(Flags& flags) {
  flags.AddString("chown");
  flags.AddString("chmod");
  flags.AddBool("link");
  flags.AddList("exclude");
}

}  // namespace

Result<Body> TypeAdd(const RawInstruction& raw) {
  TRY(CheckOperands(raw, "ADD"));
  Flags flags;
  AddCommonFlags(flags);
  flags.AddBool("keep-git-dir");
  flags.AddString("checksum");
  flags.AddBool("unpack");
  TRY(flags.Parse(raw.origin.flags));
  Add add;
  TRY_ASSIGN(add.sources, TypeSources(raw, "ADD", flags));
  add.checksum = flags.Value("checksum");
  if (flags.Given("keep-git-dir")) add.keep_git_dir = flags.IsTrue("keep-git-dir");
  if (flags.Given("unpack")) add.unpack = flags.IsTrue("unpack");
  return Body(std::move(add));
}

Result<Body> TypeCopy(const RawInstruction& raw) {
  TRY(CheckOperands(raw, "COPY"));
  Flags flags;
  AddCommonFlags(flags);
  flags.AddString("from");
  flags.AddBool("parents");
  TRY(flags.Parse(raw.origin.flags));
  Copy copy;
  TRY_ASSIGN(copy.sources, TypeSources(raw, "COPY", flags));
  copy.from = flags.Value("from");
  copy.parents = flags.IsTrue("parents");
  return Body(std::move(copy));
}

Result<Body> TypeRun(const RawInstruction& raw) {
  Flags flags;
  flags.AddList("device");
  flags.AddList("mount");
  flags.AddString("network");
  flags.AddString("security");
  TRY(flags.Parse(raw.origin.flags));
  Run run{.command = TypeCommandLine(raw), .heredocs = raw.origin.heredocs, .mounts = flags.Values("mount")};
  if (!run.heredocs.empty() && run.command.args.empty()) {
    Error error = Invalid("RUN has a heredoc but no command");
    error.hint = "a heredoc belongs behind the flags: RUN --mount=… <<EOF";
    return error;
  }
  for (const std::string& value : flags.Values("device")) {
    TRY_ASSIGN(Device device, ParseDevice(value));
    run.devices.push_back(std::move(device));
  }
  for (const std::string& mount : run.mounts) TRY(CheckMount(mount));
  if (flags.Given("network")) run.network = flags.Value("network");
  static constexpr std::array<std::string_view, 3> kNetworks = {"default", "none", "host"};
  if (std::ranges::find(kNetworks, run.network) == kNetworks.end()) {
    return Hinted(Invalid("invalid network mode {}", Quote(run.network)),
                  "use default, none or host" + DidYouMean(run.network, kNetworks, false));
  }
  if (flags.Given("security")) run.security = flags.Value("security");
  static constexpr std::array<std::string_view, 2> kSecurity = {"sandbox", "insecure"};
  if (std::ranges::find(kSecurity, run.security) == kSecurity.end()) {
    return Hinted(Invalid("security {} is not valid", Quote(run.security)),
                  "use sandbox or insecure" + DidYouMean(run.security, kSecurity, false));
  }
  return Body(std::move(run));
}

}  // namespace varve::dockerfile
