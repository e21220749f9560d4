// COPY and ADD.
#include "dockerfile/lower_test.h"
#include "dockerfile/stage_copy.h"
#include "graph/source_url.h"

namespace varve::dockerfile {
namespace {

class Copies : public LowerTest {
 protected:
  // The actions of the only COPY or ADD of a Dockerfile.
  std::vector<graph::Copy> Actions(const std::string& instruction) {
    lowered_ = Do("FROM a\nWORKDIR /w\nENV V=v\n" + instruction + "\n");
    if (lowered_.graph.steps.empty()) return {};
    std::vector<graph::Copy> out;
    for (const auto& action : Last<graph::FileOp>(lowered_).actions) {
      out.push_back(std::get<graph::Copy>(action));
    }
    return out;
  }
  const graph::Step& Input(const graph::Copy& copy) {
    return lowered_.graph.at(lowered_.graph.steps.back().inputs.at(static_cast<size_t>(copy.input)));
  }
  std::string LastError(const std::string& instruction) { return Error("FROM a\n" + instruction + "\n").substr(3); }
  Lowered lowered_;
};

TEST_F(Copies, SourcesAreSelectorsOnTheContext) {
  auto copies = Actions("COPY ./a/../b /$V.txt *.go dir/");
  ASSERT_EQ(copies.size(), 3u);
  EXPECT_EQ(copies[0].from.path, "b");
  EXPECT_FALSE(copies[0].from.wildcards);
  EXPECT_FALSE(copies[0].from.allow_empty);
  EXPECT_TRUE(copies[0].from.follow_last);
  EXPECT_EQ(copies[1].from.path, "v.txt");
  EXPECT_EQ(copies[2].from.path, "*.go");
  EXPECT_TRUE(copies[2].from.wildcards);
  EXPECT_TRUE(copies[2].from.allow_empty);
  for (const graph::Copy& copy : copies) {
    EXPECT_EQ(copy.dest, "/w/dir/");
    EXPECT_EQ(copy.input, 1) << "the context is one input";
    EXPECT_TRUE(copy.contents_only);
    EXPECT_FALSE(copy.unpack);
  }
  EXPECT_EQ(Input(copies[0]).name, "[internal] load build context");
  EXPECT_EQ(History(lowered_).back(), "COPY ./a/../b /v.txt *.go dir/ # buildkit");
  EXPECT_EQ(Names(lowered_).back(), "[3/3] COPY ./a/../b /v.txt *.go dir/");
}

TEST_F(Copies, DestinationsKeepWhatSaysThatTheyAreDirectories) {
  EXPECT_EQ(Actions("COPY a /x").at(0).dest, "/x");
  EXPECT_EQ(Actions("COPY a x").at(0).dest, "/w/x");
  EXPECT_EQ(Actions("COPY a .").at(0).dest, "/w/");
  EXPECT_EQ(Actions("COPY a ./").at(0).dest, "/w/");
  EXPECT_EQ(Actions("COPY a /x/.").at(0).dest, "/x/");
  EXPECT_EQ(Actions("COPY a /").at(0).dest, "/");
  EXPECT_EQ(Actions("COPY . /x/../y/").at(0).from.path, "");
}

TEST_F(Copies, FlagsBecomeOwnerModeAndPatterns) {
  auto copies = Actions("COPY --chown=app:$V --chmod=0644 --exclude=*.md --exclude=!a.md a b");
  EXPECT_EQ(copies.at(0).owner.user, "app");
  EXPECT_EQ(copies[0].owner.group, "v");
  EXPECT_EQ(copies[0].mode, "644");
  EXPECT_EQ(copies[0].from.exclude, (Texts{"*.md", "!a.md"}));
  EXPECT_EQ(History(lowered_).back(), "COPY --chown=app:v --chmod=0644 a b # buildkit");
}

TEST_F(Copies, ModesAreOctalOrSymbolic) {
  for (const char* good : {"u=rwX,go=rX", "+x", "a-w", "g=u", "u+s", "+t", "ug+rw-x"}) {
    EXPECT_EQ(ReadMode(good).value_or("refused"), good);
  }
  EXPECT_EQ(*ReadMode("07777"), "7777");
  EXPECT_EQ(*ReadMode(""), "");
  for (const char* bad : {"17777", "888", "x", "u", "u=q", "u=rw,", "rwx"}) {
    EXPECT_FALSE(ReadMode(bad).has_value()) << bad;
  }
  EXPECT_EQ(LastError("COPY --chmod=99 a b"),
            "invalid chmod parameter: '99'. it should be octal string and between 0 and 07777");
  EXPECT_EQ(LastError("COPY --chmod=64a a b"),
            "invalid chmod parameter: '64a'. it should be octal string and between 0 and 07777");
}

TEST_F(Copies, ParentsKeepPathsFromThePivotOn) {
  auto copies = Actions("COPY --parents ./x/./y/*.go a/b /d/");
  EXPECT_EQ(copies.at(0).from.path, "x/./y/*.go");
  EXPECT_TRUE(copies[0].from.parents);
  EXPECT_TRUE(copies[0].from.wildcards);
  EXPECT_EQ(copies.at(1).from.path, "a/b");
  EXPECT_FALSE(copies[1].from.wildcards);
  EXPECT_EQ(History(lowered_).back(), "COPY --parents ./x/./y/*.go a/b /d/ # buildkit");
}

TEST_F(Copies, FromANumberedStageOrAnEmptyOne) {
  Lowered lowered = Do("FROM scratch\nFROM b AS b\nRUN 1\nFROM a\nCOPY --from=1 /x /\nCOPY --from=0 /y /\n");
  EXPECT_EQ(History(lowered), (Texts{"COPY /x / # buildkit", "COPY /y / # buildkit"}));
  const auto& steps = lowered.graph.steps;
  const graph::Step& from_b = steps[steps.size() - 3];
  EXPECT_EQ(lowered.graph.at(from_b.inputs.at(1)).text, "RUN 1");
  EXPECT_EQ(lowered.graph.at(steps.back().inputs.at(1)).name, "[internal] empty stage");
}

TEST_F(Copies, FromItsOwnBaseIsLineageAndRead) {
  Lowered lowered = Do("FROM b AS b\nRUN 1\nFROM b\nCOPY --from=b /x /y\n");
  EXPECT_EQ(lowered.graph.steps.back().inputs, (std::vector<graph::Ref>{{1, 0}, {1, 0}}));
  EXPECT_EQ(std::get<graph::Copy>(Last<graph::FileOp>(lowered).actions[0]).input, 1);
}

TEST_F(Copies, APasswordInAUrlStaysOutOfTheHistory) {
  Lowered lowered =
      Do("FROM a\nADD https://me:hunter2@example.com/x /x\nADD https://token@example.com/r.git#v1 /r\n"
         "ADD ssh://git@example.com/r.git /s\nADD https://example.com/a@b /b\n");
  auto history = History(lowered);
  ASSERT_EQ(history.size(), 4u);
  EXPECT_EQ(history[0], "ADD https://xxxxx:xxxxx@example.com/x /x # buildkit");
  EXPECT_EQ(history[1], "ADD https://xxxxx@example.com/r.git#v1 /r # buildkit");
  EXPECT_EQ(history[2], "ADD ssh://git@example.com/r.git /s # buildkit");
  EXPECT_EQ(history[3], "ADD https://example.com/a@b /b # buildkit");
  // What is fetched is what was written.
  bool fetched = false;
  for (const graph::Step& step : lowered.graph.steps) {
    const auto* http = std::get_if<graph::HttpSource>(&step.op);
    fetched = fetched || (http != nullptr && http->url == "https://me:hunter2@example.com/x");
  }
  EXPECT_TRUE(fetched);
}

TEST_F(Copies, LinkIsALayerOfItsOwnMergedOverTheStage) {
  Lowered lowered = Do("FROM a\nCOPY --link a /b\nRUN x\n");
  ASSERT_EQ(Names(lowered), (Texts{"[1/3] FROM docker.io/library/a:latest", "[internal] load build context",
                                   "[2/3] COPY --link a /b", "[2/3] LINK COPY --link a /b", "[3/3] RUN x"}));
  const graph::Step& copy = lowered.graph.steps[2];
  EXPECT_EQ(std::get<graph::FileOp>(copy.op).base, -1);
  EXPECT_EQ(copy.inputs, (std::vector<graph::Ref>{{1, 0}}));
  EXPECT_FALSE(std::get<graph::Copy>(std::get<graph::FileOp>(copy.op).actions[0]).follow_dest_links);
  const graph::Step& merge = lowered.graph.steps[3];
  EXPECT_TRUE(std::holds_alternative<graph::Merge>(merge.op));
  EXPECT_EQ(merge.inputs, (std::vector<graph::Ref>{{0, 0}, {2, 0}}));
  EXPECT_EQ(lowered.history[1].step, 3u);
  EXPECT_EQ(History(lowered)[0], "COPY a /b # buildkit");
}

TEST_F(Copies, LinkOnNothingNeedsNoMergeAndWithAModeIsNoLink) {
  Lowered lowered = Do("FROM scratch\nCOPY --link a /b\nCOPY --link --chmod=755 a /c\n");
  EXPECT_EQ(Names(lowered),
            (Texts{"[internal] load build context", "[1/2] COPY --link a /b", "[2/2] COPY --link --chmod=755 a /c"}));
  EXPECT_EQ(Last<graph::FileOp>(lowered).base, 0);
}

TEST_F(Copies, LinkOfTheSameFilesIsTheSameOperationOnEveryBase) {
  Lowered one = Do("FROM a\nRUN 1\nCOPY --link x /\n");
  Lowered two = Do("FROM b\nENV A=1\nCOPY --link x /\n");
  auto copy = [](const Lowered& lowered) {
    return graph::CanonicalOp(lowered.graph.steps[lowered.graph.steps.size() - 2]).Dump();
  };
  EXPECT_EQ(copy(one), copy(two));
}

TEST_F(Copies, HereDocumentsAreFiles) {
  lowered_ =
      Do("FROM a\nENV V=v\nCOPY --chown=1 <<one.txt <<\"two.txt\" /d/\n$V "
         "\"q\"\none.txt\n$V\ntwo.txt\n");
  const auto& op = Last<graph::FileOp>(lowered_);
  ASSERT_EQ(op.actions.size(), 2u);
  auto file = [&](size_t i) {
    const graph::Step& step = Input(std::get<graph::Copy>(op.actions[i]));
    return std::get<graph::MakeFile>(std::get<graph::FileOp>(step.op).actions.at(0));
  };
  EXPECT_EQ(file(0).path, "/one.txt");
  EXPECT_EQ(file(0).data, "v \"q\"\n");
  EXPECT_EQ(file(0).mode, 0644u);
  EXPECT_EQ(file(1).data, "$V\n") << "a quoted word turns expansion off";
  EXPECT_EQ(std::get<graph::Copy>(op.actions[0]).from.path, "one.txt");
  EXPECT_EQ(History(lowered_).back(), "COPY --chown=1 <<one.txt <<two.txt /d/ # buildkit");
}

TEST_F(Copies, AddUnpacksLocalArchivesUnlessTold) {
  EXPECT_TRUE(Actions("ADD a.tar /").at(0).unpack);
  EXPECT_FALSE(Actions("ADD --unpack=false a.tar /").at(0).unpack);
  EXPECT_EQ(History(lowered_).back(), "ADD a.tar / # buildkit");
}

TEST_F(Copies, AddOfUrls) {
  std::string digest = "sha256:" + std::string(64, 'a');
  auto copies = Actions("ADD --checksum=" + digest + " https://h.example/p/f.tgz?x=1 /d/");
  EXPECT_EQ(copies.at(0).from.path, "f.tgz");
  EXPECT_FALSE(copies[0].unpack);
  const auto& http = std::get<graph::HttpSource>(Input(copies[0]).op);
  EXPECT_EQ(http.url, "https://h.example/p/f.tgz?x=1");
  EXPECT_EQ(http.filename, "f.tgz");
  EXPECT_EQ(http.checksum->ToString(), digest);
  EXPECT_EQ(Input(copies[0]).name, Names(lowered_).back());
  EXPECT_TRUE(Actions("ADD --unpack https://h.example/f.tgz /d/").at(0).unpack);
  EXPECT_EQ(Actions("ADD https://h.example/ /d/").at(0).from.path, "__unnamed__");
}

TEST_F(Copies, AddOfGitRepositories) {
  auto copies = Actions("ADD --keep-git-dir https://h.example/r.git?branch=b&subdir=s /d");
  const auto& git = std::get<graph::GitSource>(Input(copies.at(0)).op);
  EXPECT_EQ(git.remote, "https://h.example/r.git");
  EXPECT_EQ(git.ref, "refs/heads/b");
  EXPECT_EQ(git.subdir, "s");
  EXPECT_TRUE(git.keep_git_dir);
  EXPECT_EQ(copies[0].from.path, "");
  EXPECT_EQ(std::get<graph::GitSource>(Input(Actions("ADD --checksum=abc git@h:r#v1:d /d").at(0)).op).checksum, "abc");
}

TEST_F(Copies, RefusesWhatMakesNoSense) {
  EXPECT_EQ(LastError("COPY https://h.example/x /"), "source can't be a URL for COPY");
  EXPECT_EQ(LastError("COPY https://h.example/x.git /"), "source can't be a git ref for COPY");
  EXPECT_EQ(LastError("ADD --checksum=x a /"), "checksum requires HTTP(S) or Git sources");
  EXPECT_EQ(LastError("ADD --checksum=x https://h.example/a https://h.example/b /"),
            "checksum can't be specified for multiple sources");
  EXPECT_EQ(LastError("ADD --keep-git-dir https://h.example/x.git?keep-git-dir=false /"),
            "inconsistent keep-git-dir configuration");
  EXPECT_EQ(LastError("ADD https://h.example/x.git?nope=1 /"), "unexpected query \"nope\" in the git URL");
}

TEST_F(Copies, CopyOfAnIgnoredFileIsReported) {
  auto& local = std::get<graph::LocalSource>(options.context.source);
  local.exclude = {"node_modules", "*.log"};
  Do("FROM a\nCOPY node_modules/x /\nADD b.log /\nCOPY . /\nCOPY --from=b node_modules /\n");
  EXPECT_EQ(Warnings(), (Texts{"CopyIgnoredFile: Attempting to Copy file \"node_modules/x\" that is excluded by "
                               ".dockerignore (line 2)",
                               "CopyIgnoredFile: Attempting to Add file \"b.log\" that is excluded by "
                               ".dockerignore (line 3)"}));
  local.exclude = {"*"};
  Do("FROM a\nCOPY . /\n");
  EXPECT_EQ(warnings.size(), 1u);
  local.exclude = {"*", "!src"};
  Do("FROM a\nCOPY other /\n");
  EXPECT_TRUE(warnings.empty()) << "with exceptions it is not certain";
}

TEST_F(Copies, RemoteContexts) {
  options.context.source = graph::GitSource{.remote = "https://h.example/r.git", .ref = "v1"};
  options.context.subdir = "app";
  EXPECT_EQ(Names(Do("FROM a\nCOPY x /\nCOPY y /\n")),
            (Texts{"[1/3] FROM docker.io/library/a:latest", "[internal] load git source https://h.example/r.git#v1",
                   "[internal] use directory of build context", "[2/3] COPY x /", "[3/3] COPY y /"}));
  options.context = {.source = graph::HttpSource{.url = "https://h.example/c.tgz", .filename = "context"},
                     .unpack = true,
                     .subdir = ""};
  Lowered lowered = Do("FROM a\nCOPY x /\n");
  const auto& unpack = std::get<graph::FileOp>(lowered.graph.steps[2].op);
  EXPECT_TRUE(std::get<graph::Copy>(unpack.actions.at(0)).unpack);
  EXPECT_EQ(lowered.graph.steps[1].name, "[internal] load remote build context");
}

TEST(GitRefs, AreToldFromUrlsAndPaths) {
  auto remote = [](std::string_view text) -> std::string {
    auto ref = graph::ParseGitUrl(text);
    if (!ref) return "error";
    if (!*ref) return "none";
    return (*ref)->source.remote + "|" + (*ref)->source.ref + "|" + (*ref)->source.subdir;
  };
  EXPECT_EQ(remote("https://h/r.git#v1:a/../b"), "https://h/r.git|v1|b");
  EXPECT_EQ(remote("https://h/r.git?tag=t"), "https://h/r.git|refs/tags/t|");
  EXPECT_EQ(remote("https://h/r.git?ref=a#a"), "https://h/r.git|a|");
  EXPECT_EQ(remote("https://h/r.git?ref=a#b"), "error");
  EXPECT_EQ(remote("https://h/r.git?tag=a&branch=b"), "error");
  EXPECT_EQ(remote("https://h/r.git?subdir="), "error");
  EXPECT_EQ(remote("https://h/r"), "none");
  EXPECT_EQ(remote("git://h/r"), "git://h/r||");
  EXPECT_EQ(remote("ssh://git@h/r#x"), "ssh://git@h/r|x|");
  EXPECT_EQ(remote("git@h:o/r.git#:sub"), "git@h:o/r.git||sub");
  EXPECT_EQ(remote("github.com/o/r"), "https://github.com/o/r||");
  EXPECT_EQ(remote("./git@h:x"), "none");
  EXPECT_EQ(remote("a.txt"), "none");
  EXPECT_EQ(remote("ftp://h/r.git"), "none");
  EXPECT_TRUE((*graph::ParseGitUrl("github.com/o/r"))->looks_local);
  EXPECT_EQ((*graph::ParseGitUrl("github.com/o/r"))->source.remote, "https://github.com/o/r");
  EXPECT_FALSE((*graph::ParseGitUrl("https://h/r.git?submodules=false"))->source.submodules);
  EXPECT_TRUE((*graph::ParseGitUrl("https://h/r.git?keep-git-dir"))->source.keep_git_dir);
  EXPECT_TRUE((*graph::ParseGitUrl("https://h/r.git?mtime=commit"))->source.commit_mtime);
}

}  // namespace
}  // namespace varve::dockerfile
