// Pages that people read come before functions of the same name. Numbers but for `score`
// are those of Sphinx's searchtools.js.
var Scorer = {
  score: ([docname, title, anchor, descr, score]) =>
    docname.startsWith("reference/api/") ? score - 20 : score,
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
