// `varve cache`: the keys that caches are signed with.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "base/fd.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/exit_code.h"
#include "cli/upkeep_stores.h"
#include "tier/signing.h"

namespace varve::cli {

namespace {

// Never over a file that is there: a key that is lost makes every cache unsigned.
Status WriteNew(const std::string& path, const std::string& text, unsigned mode) {
  auto file = OpenFile(path, O_WRONLY | O_CREAT | O_EXCL, mode);
  if (!file && access(path.c_str(), F_OK) == 0) {
    return Invalid("{} is there already: name another file, or remove it", path);
  }
  if (!file) return std::move(file).error();
  return FdWriter(file->get()).Write(text);
}

class CacheCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.require_subcommand(1);
    CLI::App* key = app.add_subcommand("key", "Keys for signed caches");
    key->require_subcommand(1);
    CLI::App* generate = key->add_subcommand(
        "generate", "Make a pair: FILE for sign-key of --cache-to, FILE.pub for verify-key of --cache-from");
    generate->add_option("FILE", key_file_, "Where to")->default_str("varve-cache.key");
  }

  int Run(const GlobalFlags&) override {
    Status done = GenerateKey();
    return done ? kSuccess : FailWith(done.error());
  }

 private:
  Status GenerateKey() {
    TRY_ASSIGN(auto key, tier::SigningKey::Generate());
    TRY_ASSIGN(std::string private_pem, key.PrivatePem());
    TRY_ASSIGN(std::string public_pem, key.PublicPem());
    TRY(WriteNew(key_file_, private_pem, 0600));
    TRY(WriteNew(key_file_ + ".pub", public_pem, 0644));
    ToStdout(fmt::format("key {}\n{}      keep it secret: --cache-to …,sign-key={}\n"
                         "{}.pub  for everybody: --cache-from …,verify-key={}.pub\n",
                         key.name(), key_file_, key_file_, key_file_, key_file_));
    return Ok();
  }

  std::string key_file_ = "varve-cache.key";
};

}  // namespace

std::unique_ptr<Command> MakeCacheCommand() { return std::make_unique<CacheCommand>(); }

}  // namespace varve::cli
