package layer_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// templateTool is the path of a tool that checks the templates.
func templateTool(t *testing.T, elem ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"..", ".cache", "templates"}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		unavailable(t, "what checks the templates is missing; run `make part-templates`")
	}
	return path
}

// unavailable ends a test that cannot have what it runs against.
func unavailable(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// toolEnv keeps the tools from calling home, and from the caller's own account.
func toolEnv() []string {
	return append(os.Environ(), "AWS_DEFAULT_REGION=us-east-1", "AWS_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true",
		"SAM_CLI_TELEMETRY=0", "CDK_DISABLE_CLI_TELEMETRY=true", "PYTHONWARNINGS=ignore")
}

// tool runs a tool in a folder, and returns what it printed.
func tool(t *testing.T, dir string, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, toolEnv()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(command, " "), err, out, &stderr)
	}
	return string(out)
}

// templates is a copy of the templates' folder, beside a layer to take.
func templates(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	to := filepath.Join(root, "layer", "templates")
	if err := os.CopyFS(to, os.DirFS("templates")); err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"cdk.out", "out", "node_modules"} {
		if err := os.RemoveAll(filepath.Join(to, "cdk", made)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "dist"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "dist", "lambda-idempotency-layer-arm64.zip"), zipOf(t, "arm64"), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

// synthesized is a copy of the templates in which `cdk synth` has been run: it
// checks the types, and makes the stack.
func synthesized(t *testing.T) string {
	t.Helper()
	modules := templateTool(t, "cdk", "node_modules")
	in := templates(t)
	dir := filepath.Join(in, "cdk")
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	tool(t, dir, filepath.Join(modules, ".bin", "cdk"), "synth", "--quiet", "--no-notices")
	return in
}

// TestTemplates has each template checked by its own tools. What Terraform's are
// to check is in stacks.py.
func TestTemplates(t *testing.T) {
	in := synthesized(t)
	lint, sam := templateTool(t, "python", "bin", "cfn-lint"), templateTool(t, "python", "bin", "sam")
	t.Run("cloudformation", func(t *testing.T) {
		tool(t, filepath.Join(in, "cloudformation"), lint, "template.yaml")
	})
	t.Run("sam", func(t *testing.T) {
		tool(t, filepath.Join(in, "sam"), sam, "validate", "--lint", "--template", "template.yaml")
	})
	t.Run("cdk", func(t *testing.T) {
		// The CDK itself writes the DependsOn that W3005 calls superfluous.
		tool(t, filepath.Join(in, "cdk", "cdk.out"), lint, "--ignore-checks", "W3005", "--", "IdempotentJob.template.json")
	})
	t.Run("all deploy the same", func(t *testing.T) { deployTheSame(t, stacksOf(t, in)) })
}

// stacksOf is what each template deploys, by template and name.
func stacksOf(t *testing.T, in string) map[string]map[string]map[string]any {
	t.Helper()
	python, schema := templateTool(t, "python", "bin", "python"), templateTool(t, "schema")
	printed := tool(t, in, python, filepath.Join("check", "stacks.py"), ".", filepath.Join("cdk", "cdk.out"), schema)
	var stacks map[string]map[string]map[string]any
	if err := json.Unmarshal([]byte(printed), &stacks); err != nil {
		t.Fatal(err)
	}
	return stacks
}

// plainStack is what the CloudFormation template deploys: its own tool reads it.
var plainStack = sync.OnceValues(func() (map[string]map[string]any, error) {
	const program = "import json, sys; from cfnlint import decode; print(json.dumps(decode.decode(sys.argv[1])[0]['Resources']))"
	python := filepath.Join("..", ".cache", "templates", "python", "bin", "python")
	printed, err := exec.Command(python, "-c", program, filepath.Join("templates", "cloudformation", "template.yaml")).Output()
	if err != nil {
		return nil, err
	}
	var resources map[string]map[string]any
	return resources, json.Unmarshal(printed, &resources)
})

func plainFacts(t *testing.T) map[string]any {
	t.Helper()
	templateTool(t, "python", "bin", "python")
	resources, err := plainStack()
	if err != nil {
		t.Fatal(err)
	}
	return factsOfCloudFormation(t, resources)
}

// fact is something that all templates must say alike.
type fact struct {
	resource string // CloudFormation's type; "policy" is the statement that the role has of its own
	property string // its path there
	block    string // the block of Terraform's configuration
	member   string // its path there
}

func facts() []fact {
	list := []fact{
		{"AWS::DynamoDB::Table", "BillingMode", "aws_dynamodb_table.table", "billing_mode"},
		{"AWS::DynamoDB::Table", "KeySchema.0.AttributeName", "aws_dynamodb_table.table", "hash_key"},
		{"AWS::DynamoDB::Table", "KeySchema.1.AttributeName", "aws_dynamodb_table.table", "range_key"},
		{"AWS::DynamoDB::Table", "AttributeDefinitions.0.AttributeName", "aws_dynamodb_table.table", "attribute.0.name"},
		{"AWS::DynamoDB::Table", "AttributeDefinitions.0.AttributeType", "aws_dynamodb_table.table", "attribute.0.type"},
		{"AWS::DynamoDB::Table", "TimeToLiveSpecification.AttributeName", "aws_dynamodb_table.table", "ttl.0.attribute_name"},
		{"AWS::DynamoDB::Table", "TimeToLiveSpecification.Enabled", "aws_dynamodb_table.table", "ttl.0.enabled"},
		{"AWS::DynamoDB::Table", "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", "aws_dynamodb_table.table", "point_in_time_recovery.0.enabled"},
		{"AWS::IAM::Role", "AssumeRolePolicyDocument.Statement.0.Action", "data.aws_iam_policy_document.assume", "statement.0.actions"},
		{"AWS::IAM::Role", "AssumeRolePolicyDocument.Statement.0.Principal.Service", "data.aws_iam_policy_document.assume", "statement.0.principals.0.identifiers"},
		{"AWS::IAM::Role", "ManagedPolicyArns", "aws_iam_role_policy_attachment.logs", "policy_arn"},
		{"policy", "Action", "data.aws_iam_policy_document.idempotency", "statement.0.actions"},
		{"policy", "Resource", "data.aws_iam_policy_document.idempotency", "statement.0.resources"},
		{"AWS::Lambda::Function", "Role", "aws_lambda_function.function", "role"},
		{"AWS::Lambda::Function", "Environment.Variables", "aws_lambda_function.function", "environment.0.variables"},
		{"AWS::Lambda::Function", "LoggingConfig.LogGroup", "aws_lambda_function.function", "logging_config.0.log_group"},
		{"AWS::Lambda::Function", "MemorySize", "aws_lambda_function.function", "memory_size"},
		{"AWS::Logs::LogGroup", "RetentionInDays", "aws_cloudwatch_log_group.logs", "retention_in_days"},
		{"AWS::Logs::MetricFilter", "FilterPattern", "aws_cloudwatch_log_metric_filter.store_errors", "pattern"},
		{"AWS::Logs::MetricFilter", "LogGroupName", "aws_cloudwatch_log_metric_filter.store_errors", "log_group_name"},
		{"AWS::Logs::MetricFilter", "MetricTransformations.0.MetricNamespace", "aws_cloudwatch_log_metric_filter.store_errors", "metric_transformation.0.namespace"},
		{"AWS::Logs::MetricFilter", "MetricTransformations.0.MetricName", "aws_cloudwatch_log_metric_filter.store_errors", "metric_transformation.0.name"},
		{"AWS::Logs::MetricFilter", "MetricTransformations.0.MetricValue", "aws_cloudwatch_log_metric_filter.store_errors", "metric_transformation.0.value"},
	}
	// Those that Terraform has under the same name, spelt its way.
	for _, name := range []string{"Runtime", "Architectures", "Timeout"} {
		list = append(list, fact{"AWS::Lambda::Function", name, "aws_lambda_function.function", snake(name)})
	}
	for _, name := range []string{"AlarmDescription", "Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "Threshold", "ComparisonOperator", "TreatMissingData", "AlarmActions"} {
		list = append(list, fact{"AWS::CloudWatch::Alarm", name, "aws_cloudwatch_metric_alarm.store_errors", snake(name)})
	}
	return list
}

func snake(name string) string {
	return strings.ToLower(regexp.MustCompile(`\B[A-Z]`).ReplaceAllString(name, "_$0"))
}

func (f fact) name() string { return f.resource + " " + f.property }

// at is what a path leads to, or nil.
func at(v any, path string) any {
	for step := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	if one, ok := v.([]any); ok && len(one) == 1 {
		return one[0]
	}
	return v
}

// factsOfCloudFormation are the facts, with <Type> for a reference.
func factsOfCloudFormation(t *testing.T, resources map[string]map[string]any) map[string]any {
	t.Helper()
	byType := map[string]any{}
	var statements []any
	for name, r := range resources {
		kind, _ := r["Type"].(string)
		properties := resolved(r["Properties"], resources)
		if kind == "AWS::IAM::Policy" { // The CDK has the role's policy apart.
			statements = append(statements, at(properties, "PolicyDocument.Statement"))
			continue
		}
		if byType[kind] != nil {
			t.Errorf("there is another %s, %s", kind, name)
		}
		byType[kind] = properties
		if policies := at(properties, "Policies"); kind == "AWS::IAM::Role" && policies != nil {
			statements = append(statements, at(policies, "PolicyDocument.Statement"))
		}
	}
	if len(statements) != 1 || at(statements[0], "Effect") != "Allow" {
		t.Fatalf("the role has the statements %v, want one that allows", statements)
	}
	byType["policy"] = statements[0]
	said := map[string]any{}
	for _, f := range facts() {
		said[f.name()] = at(byType[f.resource], f.property)
	}
	return said
}

// resolved puts <Type> for each reference, in a string where it stands in one.
func resolved(v any, resources map[string]map[string]any) any {
	named := func(name string) string {
		if kind, ok := resources[name]["Type"].(string); ok {
			return "<" + kind + ">"
		}
		return "<" + name + ">"
	}
	switch in := v.(type) {
	case []any:
		out := make([]any, len(in))
		for i := range in {
			out[i] = resolved(in[i], resources)
		}
		return out
	case map[string]any:
		if name, ok := in["Ref"].(string); ok {
			return named(name)
		}
		if to, ok := in["Fn::GetAtt"].([]any); ok {
			return named(fmt.Sprint(to[0]))
		}
		if text, ok := in["Fn::Sub"].(string); ok {
			return resolved(regexp.MustCompile(`\$\{([\w:]+)\}`).ReplaceAllStringFunc(text, func(s string) string { return named(s[2 : len(s)-1]) }), resources)
		}
		if join, ok := in["Fn::Join"].([]any); ok {
			text := ""
			for _, part := range resolved(join[1], resources).([]any) {
				text += fmt.Sprint(part)
			}
			return resolved(text, resources)
		}
		out := map[string]any{}
		for k, v := range in {
			out[k] = resolved(v, resources)
		}
		return out
	case string:
		return strings.Replace(in, "arn:<AWS::Partition>:", "arn:aws:", 1)
	}
	return v
}

// terraformTypes are CloudFormation's names of what the configuration refers to.
var terraformTypes = map[string]string{
	"aws_dynamodb_table":       "AWS::DynamoDB::Table",
	"aws_iam_role":             "AWS::IAM::Role",
	"aws_lambda_function":      "AWS::Lambda::Function",
	"aws_cloudwatch_log_group": "AWS::Logs::LogGroup",
	"aws_sns_topic":            "AWS::SNS::Topic",
}

func factsOfTerraform(t *testing.T, blocks map[string]map[string]any) map[string]any {
	t.Helper()
	text, err := json.Marshal(blocks)
	if err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`\$\{(aws_\w+)\.\w+\.\w+\}`).ReplaceAllFunc(text, func(reference []byte) []byte {
		kind, _, _ := strings.Cut(string(reference[2:]), ".")
		return []byte("<" + terraformTypes[kind] + ">")
	})
	text = []byte(strings.ReplaceAll(string(text), "arn:${data.aws_partition.current.partition}:", "arn:aws:"))
	if err := json.Unmarshal(text, &blocks); err != nil {
		t.Fatal(err)
	}
	if wants := blocks["aws_iam_role_policy.idempotency"]["policy"]; wants != "${data.aws_iam_policy_document.idempotency.json}" {
		t.Errorf("the role's policy is %v", wants)
	}
	said := map[string]any{}
	for _, f := range facts() {
		said[f.name()] = at(any(blocks[f.block]), f.member)
	}
	return said
}

func deployTheSame(t *testing.T, stacks map[string]map[string]map[string]any) {
	if got := slices.Sorted(maps.Keys(stacks)); !slices.Equal(got, []string{"cdk", "cloudformation", "sam", "terraform"}) {
		t.Fatalf("the templates are %v", got)
	}
	plain := factsOfCloudFormation(t, stacks["cloudformation"])
	for name, want := range map[string]any{
		"AWS::DynamoDB::Table BillingMode":                                                 "PAY_PER_REQUEST",
		"AWS::DynamoDB::Table TimeToLiveSpecification.Enabled":                             true,
		"AWS::DynamoDB::Table PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled": true,
		"policy Resource":                                                 "<AWS::DynamoDB::Table>",
		"AWS::Lambda::Function Role":                                      "<AWS::IAM::Role>",
		"AWS::Lambda::Function LoggingConfig.LogGroup":                    "<AWS::Logs::LogGroup>",
		"AWS::Logs::MetricFilter LogGroupName":                            "<AWS::Logs::LogGroup>",
		"AWS::Logs::MetricFilter MetricTransformations.0.MetricName":      plain["AWS::CloudWatch::Alarm MetricName"],
		"AWS::Logs::MetricFilter MetricTransformations.0.MetricNamespace": plain["AWS::CloudWatch::Alarm Namespace"],
		"AWS::CloudWatch::Alarm AlarmActions":                             "<AWS::SNS::Topic>",
	} {
		if plain[name] != want {
			t.Errorf("%s is %v, want %v", name, plain[name], want)
		}
	}
	if got := fmt.Sprint(plain["AWS::Lambda::Function Environment.Variables"]); got != "map[IDEMPOTENCY_TABLE_NAME:<AWS::DynamoDB::Table>]" {
		t.Errorf("the function's variables are %s", got)
	}
	for name := range stacks {
		said := plain
		switch name {
		case "terraform":
			said = factsOfTerraform(t, stacks[name])
		case "cdk":
			said = factsOfCloudFormation(t, stacks[name])
			pattern := "AWS::Logs::MetricFilter FilterPattern" // The CDK adds parentheses.
			said[pattern] = strings.NewReplacer("(", "", ")", "").Replace(said[pattern].(string))
		case "sam":
			said = factsOfCloudFormation(t, stacks[name])
		}
		if diff := cmp.Diff(plain, said); diff != "" {
			t.Errorf("%s deploys something else than CloudFormation:\n%s", name, diff)
		}
	}
	if retained := stacks["cloudformation"]["Table"]["DeletionPolicy"]; retained != "Retain" {
		t.Errorf("the table is %v when the stack is deleted", retained)
	}
	app, err := os.ReadFile(filepath.Join("templates", "function", "app.py"))
	if err != nil {
		t.Fatal(err)
	}
	if inline := at(any(stacks["cloudformation"]["Function"]), "Properties.Code.ZipFile"); inline != string(app) {
		t.Errorf("the inline function is not function/app.py:\n%s", cmp.Diff(string(app), inline))
	}
}
