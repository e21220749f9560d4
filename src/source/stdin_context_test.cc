#include "source/stdin_context.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/fd.h"
#include "base/strings.h"
#include "sys/process.h"

namespace varve::source {
namespace {

namespace fs = std::filesystem;

// A tar made by hand, header by header: the tar program refuses to write most of these.
class TarBytes {
 public:
  TarBytes& Add(char type, const std::string& name, const std::string& content = "", const std::string& link = "",
                unsigned mode = 0644) {
    std::string header(512, '\0');
    auto put = [&](size_t at, const std::string& text) {
      std::copy(text.begin(), text.end(), header.begin() + static_cast<long>(at));
    };
    EXPECT_LE(name.size(), 100u);
    put(0, name);
    put(100, fmt::format("{:07o}", mode));
    put(108, "0001750");
    put(116, "0001750");
    put(124, fmt::format("{:011o}", content.size()));
    put(136, fmt::format("{:011o}", 1'600'000'000));
    put(148, "        ");
    header[156] = type;
    put(157, link);
    put(257, std::string("ustar\00000", 8));
    unsigned sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum));
    header[154] = '\0';
    text_ += header + content + std::string((512 - content.size() % 512) % 512, '\0');
    return *this;
  }
  std::string End() const { return text_ + std::string(1024, '\0'); }

 private:
  std::string text_;
};

class StdinContextTest : public testing::Test {
 protected:
  void SetUp() override {
    auto temp = sys::TempDir::Create(testing::TempDir(), "varve-stdin-");
    ASSERT_TRUE(temp);
    temp_ = std::move(*temp);
    ASSERT_TRUE(WriteFileAtomically(temp_.path() + "/outside", "untouched"));
  }

  Result<StdinContext> Read(std::string_view input, const StdinLimits& limits = {}) {
    StringReader in(input);
    return ReadStdinContext(in, temp_.path() + "/contexts", limits);
  }

  // As Read; the test fails when that does.
  StdinContext Accepted(std::string_view input) {
    auto context = Read(input);
    EXPECT_TRUE(context) << (context ? "" : context.error().ToString());
    return context ? std::move(*context) : StdinContext();
  }

  Error Refused(std::string_view input, const StdinLimits& limits = {}) {
    auto context = Read(input, limits);
    EXPECT_FALSE(context);
    ExpectNothingOutside();
    EXPECT_TRUE(!fs::exists(temp_.path() + "/contexts") || fs::is_empty(temp_.path() + "/contexts"));
    return context ? Error() : context.error();
  }

  void ExpectNothingOutside() {
    EXPECT_EQ(*ReadFile(temp_.path() + "/outside"), "untouched");
    for (const auto& entry : fs::directory_iterator(temp_.path())) {
      EXPECT_TRUE(entry.path().filename() == "outside" || entry.path().filename() == "contexts") << entry.path();
    }
  }

  static std::map<std::string, std::string> Files(const StdinContext& context) {
    std::map<std::string, std::string> files;
    const std::string root = context.directory.path();
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      const std::string name = fs::relative(entry.path().parent_path(), root) / entry.path().filename();
      const std::string key = name.starts_with("./") ? name.substr(2) : name;
      if (entry.is_symlink()) {
        files[key] = "-> " + fs::read_symlink(entry.path()).string();
      } else if (entry.is_directory()) {
        files[key] = "/";
      } else {
        files[key] = *ReadFile(entry.path());
      }
    }
    return files;
  }
  using Map = std::map<std::string, std::string>;

  sys::TempDir temp_;
};

TEST_F(StdinContextTest, TextIsADockerfileWithAnEmptyContext) {
  const StdinContext context = Accepted("FROM scratch\n");
  EXPECT_EQ(context.dockerfile, "FROM scratch\n");
  EXPECT_TRUE(fs::is_empty(context.directory.path()));
  const std::string large = "FROM scratch\n# " + std::string(5000, 'x') + "\n";
  EXPECT_EQ(Accepted(large).dockerfile, large);
}

TEST_F(StdinContextTest, EmptyInputAndBinaryInputAreRefused) {
  EXPECT_EQ(Refused("").code, Code::kInvalid);
  EXPECT_EQ(Refused("").message, "standard input is empty");
  EXPECT_EQ(Refused(std::string("\x7f"
                                "ELF\0\0\0\0",
                                8))
                .message,
            "standard input is neither a tar nor a Dockerfile");
  EXPECT_EQ(Refused(std::string(2000, 'x'), {.dockerfile = 1000}).code, Code::kInvalid);
}

TEST_F(StdinContextTest, TarIsTheContext) {
  const StdinContext context = Accepted(TarBytes()
                                            .Add('5', "./", "", "", 0700)
                                            .Add('0', "./Dockerfile", "FROM scratch\n")
                                            .Add('5', "dir/", "", "", 0555)
                                            .Add('0', "dir/run", "#!", "", 04755)
                                            .Add('2', "dir/link", "", "../nowhere")
                                            .Add('1', "same", "", "dir/run")
                                            .Add('0', "new/dirs/file", "x")
                                            .End());
  EXPECT_FALSE(context.dockerfile);
  EXPECT_EQ(context.warnings, std::vector<std::string>());
  EXPECT_EQ(Files(context), (Map{{"Dockerfile", "FROM scratch\n"},
                                 {"dir", "/"},
                                 {"dir/run", "#!"},
                                 {"dir/link", "-> ../nowhere"},
                                 {"same", "#!"},
                                 {"new", "/"},
                                 {"new/dirs", "/"},
                                 {"new/dirs/file", "x"}}));
  struct stat run, same, dir;
  ASSERT_EQ(stat((context.directory.path() + "/dir/run").c_str(), &run), 0);
  ASSERT_EQ(stat((context.directory.path() + "/same").c_str(), &same), 0);
  ASSERT_EQ(stat((context.directory.path() + "/dir").c_str(), &dir), 0);
  EXPECT_EQ(run.st_ino, same.st_ino);
  EXPECT_EQ(run.st_mode & 07777, 04755u);
  EXPECT_EQ(run.st_uid, geteuid());
  EXPECT_EQ(run.st_mtim.tv_sec, 1'600'000'000);
  EXPECT_EQ(dir.st_mode & 07777, 0555u);
  EXPECT_EQ(dir.st_mtim.tv_sec, 1'600'000'000);
}

TEST_F(StdinContextTest, ArchiveWithoutEntriesIsAnEmptyContext) {
  const StdinContext context = Accepted(std::string(10240, '\0'));
  EXPECT_FALSE(context.dockerfile);
  EXPECT_TRUE(fs::is_empty(context.directory.path()));
}

TEST_F(StdinContextTest, EveryCompressionIsRecognised) {
  const std::string tar = TarBytes().Add('0', "Dockerfile", "FROM scratch\n").End();
  const std::string plain = temp_.path() + "/contexts/plain.tar";
  fs::create_directories(temp_.path() + "/contexts");
  ASSERT_TRUE(WriteFileAtomically(plain, tar));
  int tried = 0;
  for (const char* program : {"gzip", "bzip2", "xz", "zstd"}) {
    if (!sys::FindProgram(program)) continue;
    ++tried;
    auto packed = sys::RunAndRead({.argv = {program, "-c", plain}});
    ASSERT_TRUE(packed) << program;
    EXPECT_EQ(SniffStdin(*packed), StdinKind::kCompressed);
    const StdinContext context = Accepted(*packed);
    EXPECT_EQ(Files(context), (Map{{"Dockerfile", "FROM scratch\n"}})) << program;
    // Cut off, it is damaged, and what was extracted goes away.
    auto cut = Read(packed->substr(0, packed->size() / 2));
    ASSERT_FALSE(cut) << program;
    EXPECT_EQ(cut.error().code, Code::kCorrupt);
  }
  EXPECT_GE(tried, 1);
}

TEST_F(StdinContextTest, OutputOfTheTarProgramIsTaken) {
  if (!sys::FindProgram("tar")) GTEST_SKIP() << "the program tar is missing";
  const std::string source = temp_.path() + "/contexts/source";
  const std::string deep = source + "/" + std::string(90, 'd') + "/" + std::string(90, 'e');
  fs::create_directories(deep);
  ASSERT_TRUE(WriteFileAtomically(deep + "/" + std::string(120, 'f'), "deep"));
  for (const char* format : {"gnu", "pax"}) {
    auto tar = sys::RunAndRead({.argv = {"tar", fmt::format("--format={}", format), "-C", source, "-c", "."}});
    ASSERT_TRUE(tar);
    const StdinContext context = Accepted(*tar);
    EXPECT_EQ(Files(context).size(), 3u) << format;
    EXPECT_EQ(Files(context).rbegin()->second, "deep") << format;
  }
}

TEST_F(StdinContextTest, NamesWithDotDotAreRefused) {
  for (const char* name : {"../outside", "a/../../outside", "/../outside", "..", "a/.."}) {
    Error error = Refused(TarBytes().Add('0', name, "evil").End());
    EXPECT_EQ(error.code, Code::kInvalid) << name;
    EXPECT_NE(error.message.find(name), std::string::npos) << error.message;
    EXPECT_FALSE(error.hint.empty());
  }
  EXPECT_EQ(Refused(TarBytes().Add('1', "stolen", "", "../../outside").End()).code, Code::kInvalid);
}

TEST_F(StdinContextTest, AbsoluteNamesStartAtTheContext) {
  const StdinContext context = Accepted(TarBytes().Add('0', "/etc/varve-test", "x").Add('0', "//top", "y").End());
  EXPECT_EQ(Files(context), (Map{{"etc", "/"}, {"etc/varve-test", "x"}, {"top", "y"}}));
  EXPECT_FALSE(fs::exists("/etc/varve-test"));
}

TEST_F(StdinContextTest, SymlinksNeverLeadOutside) {
  const std::string outside = temp_.path() + "/outside";
  {
    // Written through a link to the directory above: stays inside.
    const StdinContext context =
        Accepted(TarBytes().Add('2', "up", "", "../../..").Add('0', "up/outside", "evil").End());
    ExpectNothingOutside();
    EXPECT_EQ(Files(context), (Map{{"up", "-> ../../.."}, {"outside", "evil"}}));
  }
  {
    const StdinContext context =
        Accepted(TarBytes().Add('2', "root", "", temp_.path()).Add('0', "root/outside", "evil").End());
    ExpectNothingOutside();
  }
  {
    // The link itself is replaced, not what it points to.
    const StdinContext context = Accepted(TarBytes().Add('2', "file", "", outside).Add('0', "file", "mine").End());
    ExpectNothingOutside();
    EXPECT_EQ(Files(context), (Map{{"file", "mine"}}));
  }
  {
    // A directory entry over a link takes the link's place, and does not change what it points to.
    const StdinContext context = Accepted(TarBytes()
                                              .Add('2', "dir", "", temp_.path())
                                              .Add('5', "dir/", "", "", 0777)
                                              .Add('0', "dir/outside", "evil")
                                              .End());
    ExpectNothingOutside();
    EXPECT_EQ(Files(context), (Map{{"dir", "/"}, {"dir/outside", "evil"}}));
  }
  struct stat st;
  ASSERT_EQ(stat(temp_.path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
}

TEST_F(StdinContextTest, HardLinksReachOnlyTheArchive) {
  EXPECT_EQ(Refused(TarBytes().Add('1', "stolen", "", temp_.path() + "/outside").End()).code, Code::kCorrupt);
  EXPECT_EQ(Refused(TarBytes().Add('1', "a", "", "missing").End()).code, Code::kCorrupt);
  EXPECT_EQ(Refused(TarBytes().Add('5', "d/").Add('1', "a", "", "d").End()).code, Code::kCorrupt);
  // Through a symlink to the outside: looked up inside, where there is nothing.
  EXPECT_EQ(Refused(TarBytes().Add('2', "up", "", temp_.path()).Add('1', "stolen", "", "up/outside").End()).code,
            Code::kCorrupt);
  // A link to a symlink is a second name of the symlink; writing to it must not follow it.
  {
    const StdinContext context = Accepted(
        TarBytes().Add('2', "s", "", temp_.path() + "/outside").Add('1', "t", "", "s").Add('0', "t", "evil").End());
    ExpectNothingOutside();
  }
  const StdinContext context =
      Accepted(TarBytes().Add('0', "a", "x").Add('1', "a", "", "a").Add('1', "./a", "", "a").End());
  EXPECT_EQ(Files(context), (Map{{"a", "x"}}));
}

TEST_F(StdinContextTest, LaterEntriesReplaceEarlierOnes) {
  const StdinContext context = Accepted(TarBytes()
                                            .Add('0', "a", "1")
                                            .Add('5', "d/", "", "", 0500)
                                            .Add('0', "d/x", "1")
                                            .Add('0', "a", "2")
                                            .Add('0', "d", "file now")
                                            .Add('5', "a/")
                                            .Add('0', "a/b", "3")
                                            .End());
  EXPECT_EQ(Files(context), (Map{{"a", "/"}, {"a/b", "3"}, {"d", "file now"}}));
}

TEST_F(StdinContextTest, DevicesAndFifosAreLeftOutWithAWarning) {
  const StdinContext context =
      Accepted(TarBytes().Add('3', "dev/null").Add('4', "dev/sda").Add('6', "pipe").Add('0', "kept", "x").End());
  EXPECT_EQ(Files(context), (Map{{"kept", "x"}}));
  EXPECT_EQ(context.warnings, (std::vector<std::string>{"device \"dev/null\" of the context is left out",
                                                        "device \"dev/sda\" of the context is left out",
                                                        "fifo \"pipe\" of the context is left out"}));
}

TEST_F(StdinContextTest, LimitsHold) {
  TarBytes tar;
  for (int i = 0; i < 10; ++i) tar.Add('0', fmt::format("f{}", i), std::string(100, 'x'));
  EXPECT_EQ(Refused(tar.End(), {.entries = 9}).code, Code::kInvalid);
  EXPECT_EQ(Refused(tar.End(), {.bytes = 999}).code, Code::kInvalid);
  EXPECT_TRUE(Read(tar.End(), {.bytes = 1000, .entries = 10}));
}

TEST_F(StdinContextTest, DamagedArchivesAreCorrupt) {
  const std::string tar = TarBytes().Add('0', "a", std::string(2000, 'x')).Add('0', "b", "y").End();
  EXPECT_EQ(Refused(tar.substr(0, 1024)).code, Code::kCorrupt);
  std::string broken = tar;
  broken[512 + 2048 + 10] ^= 1;  // in the header of b: its checksum fails
  EXPECT_EQ(Refused(broken).code, Code::kCorrupt);
  EXPECT_EQ(Refused("\x1f\x8b\x08" + std::string(600, 'z')).code, Code::kCorrupt);
}

TEST_F(StdinContextTest, InputIsReadToItsEnd) {
  const std::string tar = TarBytes().Add('0', "a", "x").End() + std::string(1 << 20, '\0');
  StringReader in(tar);
  ASSERT_TRUE(ReadStdinContext(in, temp_.path() + "/contexts"));
  char byte;
  EXPECT_EQ(*in.Read(std::span(&byte, 1)), 0u);
}

TEST_F(StdinContextTest, StopIsSeen) {
  std::stop_source stop;
  stop.request_stop();
  StringReader in("FROM scratch\n");
  auto context = ReadStdinContext(in, temp_.path() + "/contexts", {}, stop.get_token());
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error().code, Code::kCancelled);
}

}  // namespace
}  // namespace varve::source
