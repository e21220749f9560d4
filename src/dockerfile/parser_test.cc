#include "dockerfile/parser.h"

#include <gtest/gtest.h>

#include <string>

#include "dockerfile/excerpt.h"

namespace varve::dockerfile {
namespace {

using std::chrono::milliseconds;
using Strings = std::vector<std::string>;
using RunBody = Run;  // inside TEST, Run is testing::Test::Run

Dockerfile Parse(std::string_view text) {
  auto file = ParseDockerfile(text);
  EXPECT_TRUE(file) << text << "\n" << (file ? "" : file.error().error.ToString());
  return file.value_or(Dockerfile{});
}

// The only instruction behind `FROM a`.
Instruction One(const std::string& text) {
  Dockerfile file = Parse("FROM a\n" + text);
  if (file.stages.size() != 1 || file.stages[0].instructions.size() != 1) {
    ADD_FAILURE() << "not one instruction: " << text;
    return {};
  }
  return file.stages[0].instructions[0];
}

template <class T>
T As(const std::string& text) {
  Instruction instruction = One(text);
  const T* body = std::get_if<T>(&instruction.body);
  EXPECT_NE(body, nullptr) << text;
  return body == nullptr ? T{} : *body;
}

std::string Message(std::string_view text) {
  auto file = ParseDockerfile(text);
  return file ? "parsed" : file.error().error.message;
}

TEST(Parser, StagesHoldTheirInstructionsAndNames) {
  Dockerfile file = Parse("ARG V=1\nARG W\nFROM --platform=$BUILDPLATFORM a:$V AS Build\nRUN x\nFROM build\nCMD y\n");
  ASSERT_EQ(file.global_args.size(), 2u);
  EXPECT_EQ(std::get<Arg>(file.global_args[0].body).definitions[0].value, "1");
  EXPECT_FALSE(std::get<Arg>(file.global_args[1].body).definitions[0].value);
  ASSERT_EQ(file.stages.size(), 2u);
  EXPECT_EQ(file.stages[0].name, "build");
  EXPECT_EQ(file.stages[0].name_as_written, "Build");
  EXPECT_EQ(file.stages[0].base, "a:$V");
  EXPECT_EQ(file.stages[0].platform, "$BUILDPLATFORM");
  EXPECT_EQ(file.stages[1].base, "build");
  EXPECT_EQ(file.stages[1].name, "");
  EXPECT_EQ(file.stages[1].origin.span, Span::Lines(5, 5));
}

TEST(Parser, ContinuationsJoinAndCommentsInsideDisappear) {
  Instruction run = One("RUN a \\\n# note\n  b \\  \n\n   c\n");
  EXPECT_EQ(std::get<RunBody>(run.body).command.args, Strings{"a   b    c"});
  EXPECT_EQ(run.origin.span, Span::Lines(2, 6));
  EXPECT_EQ(run.origin.text, "RUN a   b    c");
}

TEST(Parser, EscapedEscapeAtTheEndDoesNotContinue) {
  Dockerfile file = Parse("FROM a\nRUN x \\\\\nRUN y\n");
  EXPECT_EQ(file.stages[0].instructions.size(), 2u);
}

TEST(Parser, ContinuationAtTheEndOfTheFileIsAllowed) {
  EXPECT_EQ(As<RunBody>("RUN x \\").command.args, Strings{"x"});
  EXPECT_EQ(As<RunBody>("RUN x \\\n# only a comment").command.args, Strings{"x"});
}

TEST(Parser, EmptyContinuationLinesAreRemembered) {
  Dockerfile file = Parse("FROM a\nRUN x \\\n\n  y\nRUN z\n");
  EXPECT_EQ(file.empty_continuations, std::vector<Span>{Span::Lines(4, 4)});
}

TEST(Parser, ByteOrderMarkAndCarriageReturnsAreNoContent) {
  Dockerfile file = Parse("\xEF\xBB\xBF# escape=`\r\nFROM a\r\nRUN x `\r\n  y\r\nWORKDIR /z\r\n");
  EXPECT_EQ(file.escape, '`');
  ASSERT_EQ(file.stages[0].instructions.size(), 2u);
  EXPECT_EQ(std::get<RunBody>(file.stages[0].instructions[0].body).command.args, Strings{"x   y"});
  EXPECT_EQ(std::get<Workdir>(file.stages[0].instructions[1].body).path, "/z");
}

TEST(Parser, LinesHaveAMaximum) {
  std::string fits = "FROM a\nRUN " + std::string(65535 - 4, 'x') + "\n";
  EXPECT_EQ(Message(fits), "parsed");
  auto file = ParseDockerfile("FROM a\nRUN " + std::string(65535 - 3, 'x'));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().error.message, "dockerfile line greater than max allowed size of 65535");
  EXPECT_EQ(file.error().span, Span::Lines(2, 2));
}

TEST(Parser, DirectivesEndAtTheFirstOtherLine) {
  Dockerfile file = Parse("# Syntax = a/b:1 x\n#escape=`\n# check=skip=all\nFROM a\n");
  EXPECT_EQ(file.directives.syntax->value, "a/b:1 x");
  EXPECT_EQ(file.directives.escape->value, "`");
  EXPECT_EQ(file.directives.check->value, "skip=all");
  EXPECT_EQ(file.directives.check->span, Span::Lines(3, 3));
  EXPECT_EQ(Parse("# a comment\n# escape=`\nFROM a\n").escape, '\\');
  EXPECT_EQ(Parse("\n# escape=`\nFROM a\n").escape, '\\');
  EXPECT_EQ(Parse("# unknown=1\n# escape=`\nFROM a\n").escape, '\\');
}

TEST(Parser, CommentsBelongToTheNextInstruction) {
  Dockerfile file = Parse(
      "# syntax=x\n# V the version\nARG V\n# old\n#\n# build makes it\n# check=skip=A;error=true\n"
      "FROM a AS build\nRUN x\n");
  EXPECT_EQ(file.global_args[0].origin.comments, Strings{"V the version"}) << "directives are no comments";
  EXPECT_EQ(std::get<Arg>(file.global_args[0].body).definitions[0].description, "the version");
  const Origin& from = file.stages[0].origin;
  EXPECT_EQ(from.comments, (Strings{"build makes it", "check=skip=A;error=true"}));
  EXPECT_EQ(from.check, "skip=A;error=true");
  EXPECT_EQ(file.stages[0].description, "makes it");
  EXPECT_FALSE(file.stages[0].instructions[0].origin.check);
}

TEST(Syntax, IsFoundInAllItsForms) {
  auto frontend = [](std::string_view text) {
    auto syntax = DetectSyntax(text);
    return syntax ? syntax->frontend + "|" + syntax->command + "|" + std::to_string(syntax->span.start_line) : "none";
  };
  EXPECT_EQ(frontend("# syntax=a/b:1 arg\nFROM x"), "a/b:1|a/b:1 arg|1");
  EXPECT_EQ(frontend("#!/usr/bin/env x\n# escape=`\n# SYNTAX = a"), "a|a|3");
  EXPECT_EQ(frontend("// syntax=a\nanything {"), "a|a|1");
  EXPECT_EQ(frontend("{\"syntax\": \"a/b\", \"x\": [1]}"), "a/b|a/b|1");
  EXPECT_EQ(frontend("\xEF\xBB\xBF# syntax=a"), "a|a|1");
  EXPECT_EQ(frontend("# c\n# syntax=a"), "none");
  EXPECT_EQ(frontend("FROM a\n# syntax=b"), "none");
  EXPECT_EQ(frontend("{\"syntax\": 1}"), "none");
}

TEST(Parser, FlagsLoseTheirQuotesAndEndAtTheFirstOtherWord) {
  Instruction copy = One("COPY --chown=\"a b\":c --chmod=\\$M --link --exclude=*.o --exclude=x a --b /c");
  EXPECT_EQ(copy.origin.flags, (Strings{"--chown=a b:c", "--chmod=$M", "--link", "--exclude=*.o", "--exclude=x"}));
  const CopySources& sources = std::get<Copy>(copy.body).sources;
  EXPECT_EQ(sources.chown, "a b:c");
  EXPECT_TRUE(sources.link);
  EXPECT_EQ(sources.exclude, (Strings{"*.o", "x"}));
  EXPECT_EQ(sources.paths, (Strings{"a", "--b"}));
  EXPECT_EQ(sources.destination, "/c");
  EXPECT_EQ(As<RunBody>("RUN --network=none -- --x").command.args, Strings{"--x"});
}

TEST(Parser, BooleanFlagsOfAddTellGivenFromNotGiven) {
  Add add = As<Add>("ADD --unpack=FALSE --keep-git-dir --checksum=$C a b");
  EXPECT_EQ(add.unpack, false);
  EXPECT_EQ(add.keep_git_dir, true);
  EXPECT_EQ(add.checksum, "$C");
  EXPECT_FALSE(As<Add>("ADD a b").unpack);
}

TEST(Parser, JsonFormIsExactAndElseTheTextIsForTheShell) {
  RunBody exec = As<RunBody>("RUN [\"a\", \"b c\"]");
  EXPECT_FALSE(exec.command.shell_form);
  EXPECT_EQ(exec.command.args, (Strings{"a", "b c"}));
  RunBody shell = As<RunBody>("RUN ['a']");
  EXPECT_TRUE(shell.command.shell_form);
  EXPECT_EQ(shell.command.args, Strings{"['a']"});
  EXPECT_TRUE(As<RunBody>("RUN [\"a\"] && b").command.shell_form);
  EXPECT_FALSE(As<Entrypoint>("ENTRYPOINT []").command.shell_form);
  EXPECT_TRUE(As<Entrypoint>("ENTRYPOINT []").command.args.empty());
  Copy copy = As<Copy>("COPY [\"a b\", \"<<EOF\", \"/c\"]");
  EXPECT_EQ(copy.sources.paths, (Strings{"a b", "<<EOF"})) << "no here-documents in JSON";
}

TEST(Parser, JsonFormBearsBytesThatAreNotUtf8) {
  CommandLine command = As<Cmd>("CMD [\"caf\xe9\", \"\\ud800x\", \"\\ud83d\\ude00\", \"\\\\ud800\"]").command;
  EXPECT_FALSE(command.shell_form);
  EXPECT_EQ(command.args, (Strings{"caf\uFFFD", "\uFFFDx", "\U0001F600", "\\ud800"}));
}

TEST(Parser, UnknownKeywordsHaveColumns) {
  auto columns = [](std::string_view text) {
    auto file = ParseDockerfile(text);
    EXPECT_FALSE(file);
    return std::pair(file.error().span.start_column, file.error().span.end_column);
  };
  EXPECT_EQ(columns("FROM a\n  RNU x\n"), std::pair(3, 5));
  EXPECT_EQ(columns("FROM a\nR\\\nNU x\n"), std::pair(0, 0));
  EXPECT_EQ(columns("FROM a\nRUN --x\n"), std::pair(0, 0));
}

TEST(Parser, EnvWordsKeepTheirQuotesForExpansion) {
  Env env = As<Env>("ENV A=1 B=\"2 3\" C=x\\ y D='$A'");
  ASSERT_EQ(env.values.size(), 4u);
  EXPECT_EQ(env.values[1].value, "\"2 3\"");
  EXPECT_EQ(env.values[2].value, "x\\ y");
  EXPECT_EQ(env.values[3].value, "'$A'");
  Label legacy = As<Label>("LABEL name  the  rest=x ");
  EXPECT_TRUE(legacy.values[0].legacy);
  EXPECT_EQ(legacy.values[0].key, "name");
  EXPECT_EQ(legacy.values[0].value, "the  rest=x");
}

TEST(Parser, HealthcheckReadsItsFlags) {
  Healthcheck check = As<Healthcheck>(
      "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=0s "
      "--start-interval=500ms --retries=4 cmd curl -f x");
  EXPECT_EQ(check.interval, std::chrono::seconds(90));
  EXPECT_EQ(check.timeout, milliseconds(1500));
  EXPECT_EQ(check.start_interval, milliseconds(500));
  EXPECT_EQ(check.retries, 4);
  EXPECT_TRUE(check.command.shell_form);
  EXPECT_EQ(check.command.args, Strings{"curl -f x"});
  EXPECT_TRUE(As<Healthcheck>("HEALTHCHECK NONE").none);
  EXPECT_FALSE(As<Healthcheck>("HEALTHCHECK CMD [\"a\"]").command.shell_form);
}

TEST(Parser, SmallInstructionsKeepTheirWords) {
  EXPECT_EQ(As<Expose>("EXPOSE 90 80/udp $P").ports, (Strings{"$P", "80/udp", "90"}));
  EXPECT_EQ(As<Volume>("VOLUME [\" /a b \", \"/c\"]").paths, (Strings{"/a b", "/c"}));
  EXPECT_EQ(As<Shell>("SHELL [\"/bin/bash\", \"-c\"]").shell, (Strings{"/bin/bash", "-c"}));
  EXPECT_EQ(As<StopSignal>("STOPSIGNAL --ignored=1 SIGTERM").signal, "SIGTERM");
  EXPECT_EQ(As<User>("USER a b").user, "a b");
  EXPECT_EQ(As<Maintainer>("MAINTAINER A <a@b>").name, "A <a@b>");
  EXPECT_EQ(As<Workdir>("WORKDIR  /a  b ").path, "/a  b");
  Arg arg = As<Arg>("ARG A B= C=\"x y\"");
  ASSERT_EQ(arg.definitions.size(), 3u);
  EXPECT_FALSE(arg.definitions[0].value);
  EXPECT_EQ(arg.definitions[1].value, "");
  EXPECT_EQ(arg.definitions[2].value, "\"x y\"");
}

TEST(Heredoc, SeveralBodiesFollowInOrder) {
  Instruction copy = One("COPY --chmod=0644 <<A <<-\"B\" other /x/\none $V\nA\n\ttwo $V\n\tB\n");
  const CopySources& sources = std::get<Copy>(copy.body).sources;
  ASSERT_EQ(sources.files.size(), 2u);
  EXPECT_EQ(sources.files[0].name, "A");
  EXPECT_EQ(sources.files[0].content, "one $V\n");
  EXPECT_TRUE(sources.files[0].expand);
  EXPECT_EQ(sources.files[1].content, "two $V\n");
  EXPECT_FALSE(sources.files[1].expand);
  EXPECT_EQ(sources.paths, Strings{"other"});
  EXPECT_EQ(copy.origin.span, Span::Lines(2, 6));
}

TEST(Heredoc, QuotedOperatorsAndOtherInstructionsHaveNone) {
  EXPECT_TRUE(As<RunBody>("RUN echo '<<EOF'").heredocs.empty());
  EXPECT_TRUE(As<RunBody>("RUN [\"sh\", \"<<EOF\"]").heredocs.empty());
  EXPECT_EQ(As<Cmd>("CMD cat <<EOF").command.args, Strings{"cat <<EOF"});
  EXPECT_TRUE(As<RunBody>("RUN cat <<<word").heredocs.empty()) << "a here-string is the shell's";
  EXPECT_EQ(As<RunBody>("RUN 3<<EOF cat\nEOF").heredocs[0].descriptor, 3u);
}

TEST(Heredoc, EndWordStandsAloneOnItsLine) {
  RunBody run = As<RunBody>("RUN cat <<EOF\n EOF\nEOF \nx\r\nEOF\r\n");
  EXPECT_EQ(run.heredocs[0].content, " EOF\nEOF \nx\r\n");
}

TEST(RunScript, SoleDocumentIsTheScript) {
  RunBody run = As<RunBody>("RUN <<-EOF\n\ta\n\t\tb\nEOF\n");
  RunScript script = MakeRunScript(run, false);
  EXPECT_EQ(script.args, Strings{"a\nb\n"});
  EXPECT_TRUE(script.shell_form);
  EXPECT_FALSE(script.file);
  EXPECT_EQ(script.suffix, " (a...)");
}

TEST(RunScript, ShebangMakesAFileExceptOnWindows) {
  RunBody run = As<RunBody>("RUN <<EOF\n#!/usr/bin/python3\nEOF\n");
  RunScript script = MakeRunScript(run, false);
  EXPECT_EQ(script.args, Strings{"/dev/pipes/EOF"});
  ASSERT_TRUE(script.file);
  EXPECT_EQ(script.file->name, "EOF");
  EXPECT_EQ(script.file->content, "#!/usr/bin/python3\n");
  EXPECT_EQ(script.suffix, " (#!/usr/bin/python3)");
  EXPECT_EQ(MakeRunScript(run, true).args, Strings{"#!/usr/bin/python3\n"});
}

TEST(RunScript, OtherDocumentsAreTheShells) {
  RunBody run = As<RunBody>("RUN cat <<-A <<B > /x\n\t1\nA\n2\nB\n");
  EXPECT_EQ(MakeRunScript(run, false).args, Strings{"cat <<-A <<B > /x\n\t1\nA\n2\nB"});
}

TEST(OnBuild, TriggerKeepsItsDocumentsAndReadsBack) {
  OnBuild on_build = As<OnBuild>("ONBUILD  COPY --from=x <<E /y\n$V\nE\n");
  EXPECT_EQ(on_build.trigger, "COPY --from=x <<E /y\n$V\nE");
  Span span = Span::Lines(7, 7);
  auto trigger = ParseTrigger(on_build.trigger, span);
  ASSERT_TRUE(trigger) << trigger.error().error.message;
  EXPECT_EQ(trigger->origin.span, span);
  const Copy& copy = std::get<Copy>(trigger->body);
  EXPECT_EQ(copy.from, "x");
  EXPECT_EQ(copy.sources.files[0].content, "$V\n");
}

TEST(OnBuild, BadTriggersOfImagesAreErrorsAtTheFrom) {
  Span span = Span::Lines(3, 4);
  auto message = [&](std::string_view trigger) {
    auto result = ParseTrigger(trigger, span);
    if (result) return std::string("parsed");
    EXPECT_EQ(result.error().span, span);
    return result.error().error.message;
  };
  EXPECT_EQ(message("RUN a\nRUN b"), "onbuild trigger should be a single expression");
  EXPECT_EQ(message("FROM a"), "FROM isn't allowed as an ONBUILD trigger");
  EXPECT_EQ(message("COPY a"),
            "COPY requires at least two arguments, but only one was provided. Destination could not "
            "be determined");
  EXPECT_EQ(message(""), "file with no instructions");
}

TEST(Parser, LongChainsOfOnBuildDoNotRecurse) {
  std::string text = "FROM a\n";
  for (int i = 0; i < 8000; ++i) text += "ONBUILD ";
  EXPECT_EQ(Message(text + "RUN x"),
            "dockerfile parse error on line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
}

TEST(Excerpt, ShowsMoreAroundASingleLine) {
  std::string text = "1\n2\n3\n4\n5\n6\n7\n";
  Span one = Span::Lines(4, 4);
  EXPECT_EQ(RenderExcerpt("F", text, {&one, 1}),
            "F:4\n--------------------\n   2 |     2\n   3 |     3\n   4 | >>> 4\n   5 |     5\n"
            "   6 |     6\n--------------------\n");
  Span two = Span::Lines(1, 2);
  EXPECT_EQ(RenderExcerpt("F", text, {&two, 1}),
            "F:1\n--------------------\n   1 | >>> 1\n   2 | >>> 2\n   3 |     3\n"
            "--------------------\n");
  Span outside = Span::Lines(9, 9);
  EXPECT_EQ(RenderExcerpt("F", text, {&outside, 1}), "");
  EXPECT_EQ(RenderExcerpt("F", text, {}), "");
}

}  // namespace
}  // namespace varve::dockerfile
