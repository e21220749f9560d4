#include "source/git_command.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/fd.h"
#include "base/hex.h"
#include "source/git.h"
#include "sys/tempdir.h"

namespace varve::source {
namespace {

// A program named git in front of the real one, which records what it is given.
class FakeGitTest : public testing::Test {
 protected:
  void SetUp() override {
    auto temp = sys::TempDir::Create(testing::TempDir(), "varve-fakegit-");
    ASSERT_TRUE(temp);
    temp_ = std::move(*temp);
    path_ = getenv("PATH");
    setenv("PATH", (temp_.path() + ":" + path_).c_str(), 1);
    source_.remote = "https://git.example.com:8443/group/x.git";
    source_.ref = "main";
  }
  void TearDown() override { setenv("PATH", path_.c_str(), 1); }

  void Script(const std::string& body) {
    ASSERT_TRUE(WriteFileAtomically(temp_.path() + "/git", "#!/bin/sh\n" + body, 0755));
  }
  Error Failure(const std::string& message) {
    Script("cat >&2 <<'END'\n" + message + "\nEND\nexit 128\n");
    auto ref = ResolveGitRef(source_, access_);
    EXPECT_FALSE(ref);
    return ref ? Error() : ref.error();
  }

  sys::TempDir temp_;
  std::string path_;
  graph::GitSource source_;
  GitAccess access_;
};

TEST_F(FakeGitTest, TokenTravelsInTheEnvironmentBoundToTheHost) {
  access_.token = "hunter2\n";
  Script("echo \"$*\" > " + temp_.path() + "/argv\nenv > " + temp_.path() +
         "/env\n"
         "printf '%s\\trefs/heads/main\\n' " +
         std::string(40, 'a') + "\n");
  auto ref = ResolveGitRef(source_, access_);
  ASSERT_TRUE(ref) << ref.error().ToString();
  const std::string argv = *ReadFile(temp_.path() + "/argv");
  const std::string env = *ReadFile(temp_.path() + "/env");
  const std::string header = "Authorization: Basic " + Base64Encode("x-access-token:hunter2");
  EXPECT_EQ(argv.find("hunter2"), std::string::npos);
  EXPECT_EQ(argv.find(header), std::string::npos);
  EXPECT_NE(env.find("=http.https://git.example.com:8443/.extraHeader\n"), std::string::npos) << env;
  EXPECT_NE(env.find("=" + header + "\n"), std::string::npos) << env;
  EXPECT_NE(env.find("GIT_TERMINAL_PROMPT=0\n"), std::string::npos);
  EXPECT_NE(env.find("GIT_ALLOW_PROTOCOL=https:http:ssh:git\n"), std::string::npos);
  EXPECT_EQ(env.find("SSH_AUTH_SOCK"), std::string::npos);
  EXPECT_NE(env.find("IdentityAgent=none"), std::string::npos);
}

TEST_F(FakeGitTest, HeaderWinsOverTokenAndSshGetsNeither) {
  access_.token = "hunter2";
  access_.header = "Bearer letmein";
  access_.ssh_auth_sock = "/run/agent";
  Script("env > " + temp_.path() + "/env\nprintf '%s\\trefs/heads/main\\n' " + std::string(40, 'a') + "\n");
  ASSERT_TRUE(ResolveGitRef(source_, access_));
  std::string env = *ReadFile(temp_.path() + "/env");
  EXPECT_NE(env.find("=Authorization: Bearer letmein\n"), std::string::npos);
  EXPECT_EQ(env.find(Base64Encode("x-access-token:hunter2")), std::string::npos);

  source_.remote = "git@git.example.com:x.git";
  ASSERT_TRUE(ResolveGitRef(source_, access_));
  env = *ReadFile(temp_.path() + "/env");
  EXPECT_EQ(env.find("letmein"), std::string::npos);
  EXPECT_NE(env.find("SSH_AUTH_SOCK=/run/agent\n"), std::string::npos);
  EXPECT_NE(env.find("StrictHostKeyChecking=yes"), std::string::npos);
}

TEST_F(FakeGitTest, CredentialsAreMaskedInErrorsAndProgress) {
  access_.token = "hunter2";
  source_.remote = "https://ghp_abc@git.example.com/x.git";
  const std::string encoded = Base64Encode("x-access-token:hunter2");
  Error error = Failure("fatal: odd: https://ghp_abc@git.example.com/ hunter2 Basic " + encoded);
  EXPECT_EQ(error.code, Code::kExec);
  const std::string text = error.ToString();
  EXPECT_NE(text.find("***"), std::string::npos);
  for (const std::string& secret : {std::string("hunter2"), encoded, std::string("ghp_abc")}) {
    EXPECT_EQ(text.find(secret), std::string::npos) << text;
  }
  std::vector<std::string> lines;
  auto git = GitCommand::Create(source_.remote, access_, [&](std::string_view line) { lines.emplace_back(line); }, {});
  ASSERT_TRUE(git);
  Script("printf 'a hunter2\\rb\\nlast' >&2\n");
  ASSERT_TRUE(git->Run({"fetch"}));
  EXPECT_EQ(lines, (std::vector<std::string>{"a ***", "b", "last"}));
}

TEST_F(FakeGitTest, APasswordOfTheUrlIsAHeader) {
  source_.remote = "https://me:hunter%202@git.example.com/x.git";
  const std::string encoded = "Basic " + Base64Encode("me:hunter 2");
  Error error = Failure("fatal: odd: me hunter 2 " + encoded);
  EXPECT_EQ(error.ToString().find("hunter"), std::string::npos) << error.ToString();
  EXPECT_EQ(error.ToString().find(encoded), std::string::npos);
  auto git = GitCommand::Create(source_.remote, {}, {}, {});
  ASSERT_TRUE(git);
  EXPECT_EQ(git->remote(), "https://git.example.com/x.git");
  Script("env > " + temp_.path() + "/env\nprintf '%s\\trefs/heads/main\\n' " + std::string(40, 'a') + "\n");
  ASSERT_TRUE(ResolveGitRef(source_, {}));
  EXPECT_NE(ReadFile(temp_.path() + "/env")->find("=Authorization: " + encoded + "\n"), std::string::npos);
  // What is given as a secret wins.
  ASSERT_TRUE(ResolveGitRef(source_, {.header = "Bearer letmein"}));
  EXPECT_EQ(ReadFile(temp_.path() + "/env")->find(encoded), std::string::npos);
}

TEST_F(FakeGitTest, SecondHeaderCannotBeSmuggledIn) {
  access_.header = "Bearer a\r\nX-Evil: 1";
  EXPECT_EQ(ResolveGitRef(source_, access_).error().code, Code::kInvalid);
}

TEST_F(FakeGitTest, FailuresAreToldApart) {
  const std::pair<const char*, Code> cases[] = {
      {"fatal: could not read Username for 'https://x': terminal prompts disabled", Code::kInvalid},
      {"remote: no\nfatal: Authentication failed for 'https://x/'", Code::kInvalid},
      {"git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", Code::kInvalid},
      {"Host key verification failed.", Code::kInvalid},
      {"fatal: transport 'ext' not allowed", Code::kInvalid},
      {"fatal: unable to access 'https://x/': Could not resolve host: x", Code::kUnavailable},
      {"fatal: unable to access 'https://x/': Failed to connect to x port 443", Code::kUnavailable},
      {"ssh: connect to host x port 22: Connection refused", Code::kUnavailable},
      {"fatal: unable to access 'https://x/': The requested URL returned error: 503", Code::kUnavailable},
      {"remote: Repository not found.\nfatal: repository 'https://x/' not found", Code::kNotFound},
      {"error: file write error: No space left on device", Code::kResource},
      {"fatal: something new", Code::kExec}};
  for (const auto& [message, code] : cases) {
    Error error = Failure(message);
    EXPECT_EQ(error.code, code) << error.ToString();
    EXPECT_NE(error.message.find("git.example.com"), std::string::npos) << error.message;
    EXPECT_EQ(error.hint.empty(), code == Code::kExec) << error.message;
  }
  EXPECT_EQ(Failure("fatal: unable to access 'https://x/': Could not resolve host: x").message,
            "git repository https://git.example.com:8443/group/x.git: the host is unknown "
            "(fatal: unable to access 'https://x/': Could not resolve host: x)");
}

TEST_F(FakeGitTest, MissingProgramIsSaid) {
  setenv("PATH", temp_.path().c_str(), 1);
  auto ref = ResolveGitRef(source_, access_);
  ASSERT_FALSE(ref);
  EXPECT_EQ(ref.error().message, "the program git is not installed");
  EXPECT_FALSE(ref.error().hint.empty());
}

}  // namespace
}  // namespace varve::source
