// Judges objects of the Prometheus operator's kinds by the models made from its own definitions.
// Reads a JSON list on standard input; prints how many it judged; ends with 1 and the reason at the first that is wrong.
import { readFileSync } from "node:fs";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";

const models = { PodMonitor, PrometheusRule };
const objects = JSON.parse(readFileSync(0, "utf-8"));
for (const object of objects) {
  const Model = models[object.kind];
  if (Model === undefined) {
    console.error(`${object.kind} ${object.metadata.name}: no model to judge it by`);
    process.exit(1);
  }
  try {
    new Model(object).validate();
  } catch (error) {
    console.error(`${object.kind} ${object.metadata.name}: ${error.message}`);
    process.exit(1);
  }
}
console.log(objects.length);
