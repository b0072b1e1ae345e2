export { type HistoryPlotOptions, plotHistory } from './historyPlot';
export { type ModelPlotOptions, plotModel } from './modelPlot';
