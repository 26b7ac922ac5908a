package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/lambda-idempotency/lambda-idempotency/bench/delay"
	"github.com/lambda-idempotency/lambda-idempotency/bench/driver"
	"github.com/lambda-idempotency/lambda-idempotency/bench/plot"
	"github.com/lambda-idempotency/lambda-idempotency/bench/spread"
)

const batchLatency = 5 * time.Millisecond

// mostSingle is the largest batch that is measured with a call for each record.
const mostSingle = 100

const (
	batchPython, singlePython, theirBatchPython = "Python, sidecar, batch helper", "Python, sidecar, a call per record", "Python, Powertools"
	batchNode, theirBatchNode                   = "Node.js, sidecar, batch helper", "Node.js, Powertools"
	batchGo                                     = "Go, sidecar, batch helper"
)

func batchContenders() []contender {
	return []contender{
		{batchPython, "Python", "sidecar_sqs", true, false},
		{singlePython, "Python", "single_sqs", true, false},
		{theirBatchPython, "Python", "powertools_sqs", false, false},
		{batchNode, "Node.js", "sidecar_sqs", true, false},
		{theirBatchNode, "Node.js", "powertools_sqs", false, false},
		{batchGo, "Go", "sqs", true, false},
	}
}

// atStore is what the kind is called of the time during which the store had at least one request.
const atStore = ", at the store"

// failures is what the kind is called of the number of records that were not done.
const failures = ", failed"

// batches are times in milliseconds, by the number of records, contender and kind.
type batches map[int]map[string]map[string][]float64

// queueEvent is what Lambda hands over of an SQS queue.
func queueEvent(records int, of string) map[string]any {
	list := make([]any, records)
	for i := range list {
		list[i] = map[string]any{
			"messageId": of + "-" + strconv.Itoa(i), "receiptHandle": "MessageReceiptHandle", "body": `{"order":"` + strconv.Itoa(i) + `","amount":10}`,
			"attributes":        map[string]any{"ApproximateReceiveCount": "1", "SentTimestamp": "1523232000000", "SenderId": "123456789012", "ApproximateFirstReceiveTimestamp": "1523232000001"},
			"messageAttributes": map[string]any{}, "md5OfBody": "7b270e59b47ff90a553787216d55d91d", "eventSource": "aws:sqs",
			"eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:queue", "awsRegion": region,
		}
	}
	return map[string]any{"Records": list}
}

func (w *world) measureBatches(ctx context.Context) (batches, error) {
	s, err := w.serve(ctx, w.viaRelay())
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	list := batchContenders()
	crew, err := w.hire(ctx, w.viaRelay(), func(contender) string { return s.Port }, list)
	if err != nil {
		return nil, err
	}
	defer crew.stop()
	found, number, run := batches{}, 0, rand.Text()
	round := func(at, records int) error {
		number++
		for _, kind := range kinds {
			for _, i := range crew.turn(at) {
				c := list[i]
				if c.name == singlePython && records > mostSingle {
					continue
				}
				event := queueEvent(records, fmt.Sprintf("%s-%d-%s-%s", run, number, c.language, c.module))
				w.relay.Take()
				answer, err := crew.drivers[i].Do(driver.Order{Do: "sqs", Events: []any{event}, Left: 900_000, Results: true})
				if err != nil {
					return err
				}
				failed, err := checkBatch(c, kind, records, answer)
				if err != nil {
					return err
				}
				if found[records] == nil {
					continue
				}
				if found[records][c.name] == nil {
					found[records][c.name] = map[string][]float64{}
				}
				took := ms(time.Duration(answer.Calls[0][1] - answer.Calls[0][0]))
				store, _ := delay.Within(w.relay.Take(), answer.Calls[0][0], answer.Calls[0][1])
				found[records][c.name][kind] = append(found[records][c.name][kind], took)
				found[records][c.name][kind+failures] = append(found[records][c.name][kind+failures], float64(failed))
				found[records][c.name][kind+atStore] = append(found[records][c.name][kind+atStore], ms(store))
			}
		}
		return nil
	}
	// As many connections as a batch uses are open, and code is warm.
	for at := range 3 {
		if err := round(at, 40); err != nil {
			return nil, err
		}
	}
	w.relay.SetDelay(batchLatency)
	defer w.relay.SetDelay(0)
	for _, b := range w.plan.batches {
		found[b.records] = map[string]map[string][]float64{}
		for at := range b.rounds {
			if err := round(at, b.records); err != nil {
				return nil, err
			}
		}
	}
	return found, nil
}

// checkBatch tells how many records were answered as failed. All the others were done, once, or not at all if they are
// duplicates. Of ours none may fail; what others make of the same store is told with their times.
func checkBatch(c contender, kind string, records int, answer driver.Answer) (failed int, err error) {
	var told struct {
		BatchItemFailures []any `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(answer.Results[0], &told); err != nil {
		return 0, fmt.Errorf("%s answered %s: %w", c.name, answer.Results[0], err)
	}
	failed = len(told.BatchItemFailures)
	least, most := records-failed, records-failed
	if kind == "duplicate" {
		least, most = 0, 0
		if !c.sidecar { // It does then what failed before.
			most = records
		}
	}
	if c.sidecar && failed > 0 || answer.Ran < least || answer.Ran > most {
		return 0, fmt.Errorf("%s: of %d records, each a %s, the work was done %d times, and %d failed", c.name, records, kind, answer.Ran, failed)
	}
	return failed, nil
}

func (f batches) ratio(records int, kind, one, other string) spread.Spread {
	return spread.Of(spread.Pairs(f[records][one][kind], f[records][other][kind], spread.Ratio))
}

func (w *world) batchSection(f batches, d *document) {
	d.heading("SQS batches")
	d.text(fmt.Sprintf(`The whole handler, in milliseconds, at %d ms store latency: the median, and in brackets p10–p90. An answer of the store comes that long after
its request, or as soon as DynamoDB Local has it if that takes longer: it does its writes on one thread, so those of a batch wait for each other
there, as they do not in AWS. Ours is each client's batch helper: it claims all records with one call, runs the work for each, and ends all
claims with one call. Powertools is its batch processor with an idempotent function for each record, which in Python takes one record after the
other and in Node.js all at once.`, batchLatency.Milliseconds()))
	for _, kind := range kinds {
		d.subheading(map[string]string{"first run": "First run of all records", "duplicate": "All records duplicates"}[kind])
		header := []string{"Handler"}
		for _, b := range w.plan.batches {
			header = append(header, fmt.Sprintf("batch of %d (%d rounds)", b.records, b.rounds))
		}
		d.table(header...)
		chart := plot.Lines{Title: "SQS batch, " + kind, Unit: "ms, median", X: "records"}
		for _, c := range batchContenders() {
			row := []string{c.name}
			var x, y []float64
			for _, b := range w.plan.batches {
				times := f[b.records][c.name][kind]
				if len(times) == 0 {
					row = append(row, "–")
					continue
				}
				row = append(row, spread.Of(times).String())
				x, y = append(x, float64(b.records)), append(y, spread.Median(times))
			}
			d.row(row...)
			row = []string{"– of that, while the store had a request"}
			for _, b := range w.plan.batches {
				if len(f[b.records][c.name][kind]) == 0 {
					row = append(row, "–")
					continue
				}
				row = append(row, spread.Number(spread.Median(f[b.records][c.name][kind+atStore])))
			}
			d.row(row...)
			chart.Add(c.name, x, y, c.sidecar)
		}
		for _, c := range batchContenders() {
			for _, b := range w.plan.batches {
				sum := 0.0
				for _, n := range f[b.records][c.name][kind+failures] {
					sum += n
				}
				if sum > 0 {
					d.text(fmt.Sprintf("%s answered %g of the %d records of its batches of %d as failed.", c.name, sum, b.rounds*b.records, b.records))
				}
			}
		}
		header[0] = "Ratio"
		d.table(header...)
		for _, pair := range [][2]string{{batchPython, theirBatchPython}, {singlePython, theirBatchPython}, {batchNode, theirBatchNode}} {
			row := []string{pair[0] + " / " + pair[1]}
			for _, b := range w.plan.batches {
				if len(f[b.records][pair[0]][kind]) == 0 {
					row = append(row, "–")
					continue
				}
				row = append(row, f.ratio(b.records, kind, pair[0], pair[1]).String())
			}
			d.row(row...)
		}
		if kind == "first run" {
			d.plot("sqs", chart.SVG(), chart.Title)
		}
	}
}
